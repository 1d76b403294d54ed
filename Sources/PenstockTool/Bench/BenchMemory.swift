import CLinux
import Glibc

/// How much of this process is in memory, as the kernel counts it, MiB.
enum BenchMemory {
    /// Gives back what is free, counts the peak from here, and returns what is in use.
    static func begin() -> Double {
        malloc_trim(0)
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        if file >= 0 {
            // Resets the peak; where that is not allowed the peak is that of the process's whole life.
            write(file, "5", 1)
            close(file)
        }
        return value("VmRSS:")
    }

    static var peak: Double { value("VmHWM:") }

    private static func value(_ name: String) -> Double {
        guard let file = fopen("/proc/self/status", "re") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            guard text.hasPrefix(name) else { continue }
            return text.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }.map {
                $0 / 1_024
            } ?? 0
        }
        return 0
    }
}
