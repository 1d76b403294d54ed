import CLinux
import Glibc

/// How much of this process is in memory, as the kernel counts it, MiB.
struct BenchMemory {
    let before: Double
    var peak: Double { Self.value("VmHWM:") }

    /// Gives back what is free, and counts the peak from here. Where that is not allowed it is that of the
    /// process's whole life.
    init() {
        malloc_trim(0)
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        if file >= 0 {
            write(file, "5", 1)
            close(file)
        }
        before = Self.value("VmRSS:")
    }

    private static func value(_ name: String) -> Double {
        let text = String(decoding: Files.read("/proc/self/status") ?? [], as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
        return kibibytes.map { $0 / 1_024 } ?? .nan
    }
}
