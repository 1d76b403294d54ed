import CLinux
import Glibc
package import Pipeline

/// This program's standard input as a pipe that a sandbox may hold: never the file or terminal itself, which
/// it could open again with other rights.
package enum PipedInput {
    /// The reading end. A thread copies into it, because reading a terminal waits for ever; it ends with us.
    package static func start() throws(SandboxError) -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else {
            throw SandboxError(.busy, "no pipe for the input: \(String(cString: strerror(errno)))")
        }
        signal(SIGPIPE, SIG_IGN)
        let writing = ends[1]
        try SandboxThread.start {
            copy(to: writing)
            close(writing)
        }
        return ends[0]
    }

    private static func copy(to writing: Int32) {
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(0, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            var sent = 0
            while sent < count {
                let result = piece[sent..<count].withUnsafeBytes { write(writing, $0.baseAddress, $0.count) }
                if result < 0, errno == EINTR { continue }
                guard result > 0 else { return }
                sent += result
            }
        }
    }
}
