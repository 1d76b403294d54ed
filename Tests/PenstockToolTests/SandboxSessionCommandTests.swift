import Foundation
import Testing

@Suite("penstock sandbox exec, ps, logs and kill")
struct SandboxSessionCommandTests {
    @Test("commands share files, and exit with their own status")
    func sharesFiles() throws {
        let ground = try SessionGround()

        let first = try ground.run("exec", ["--", "bash", "-c", "echo kept >note; exit 3"])
        let second = try ground.run("exec", ["--", "cat", "note"])

        #expect(first.status == 3 && first.text.isEmpty, "\(first.text)")
        #expect(second.status == 0 && second.text == "kept\n")
        #expect(try ground.run("exec", ["--session", "../x", "--", "true"]).status == 2)
    }

    @Test("a background process is listed, read, and told to stop")
    func background() throws {
        let ground = try SessionGround()
        let script = "trap 'echo stopping; exit 7' TERM; echo begun; touch begun; while :; do sleep 0.1; done"

        let started = try ground.run("exec", ["--detach", "--", "bash", "-c", script])
        let id = started.text.trimmingCharacters(in: .whitespacesAndNewlines)
        try ground.await(id, "running")
        _ = try ground.run("exec", ["--", "bash", "-c", "until test -e begun; do sleep 0.1; done"])
        let log = try ground.run("logs", [id])
        let stopped = try ground.run("kill", [id])
        try ground.await(id, "exited 7")

        #expect(started.status == 0 && id == "1", "\(started.text)")
        #expect(log.text == "begun\n")
        #expect(stopped.status == 0, "\(stopped.text)")
        // bash may say that the signal ended its sleep as well.
        #expect(try ground.run("logs", [id]).text.hasSuffix("stopping\n"))
        #expect(try ground.run("kill", [id]).status == 1)
        #expect(try ground.run("logs", ["9"]).status == 1)
    }

    @Test("whoever waits for the end of what it handed over does not wait for the background")
    func handsNothingOn() throws {
        let ground = try SessionGround()
        // What the program inherits is numbered beyond these: Foundation waits for the end of a socket.
        let many = (0..<400).map { _ in fcntl(0, F_DUPFD_CLOEXEC, 3) }
        defer { many.forEach { close($0) } }

        let started = try ground.run("exec", ["--detach", "--timeout", "20", "--", "sleep", "60"])

        #expect(many.allSatisfy { $0 > 0 } && started.text == "1\n", "\(started.text)")
        // Not ended by its time.
        #expect(try ground.run("ps", []).text.contains("running"))
    }

    @Test("one whose keeper is killed is lost, and nothing of it runs on")
    func lost() throws {
        let ground = try SessionGround()
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let id = try ground.run("exec", ["--detach", "--", "bash", "-c", "touch begun; sleep \(mark)"]).text
            .trimmingCharacters(in: .whitespacesAndNewlines)
        _ = try ground.run("exec", ["--", "bash", "-c", "until test -e begun; do sleep 0.1; done"])

        _ = try ground.run("kill", [id, "--signal", "9"])
        try ground.await(id, "lost")

        // The kernel ends the tree by itself; we can only look until it has.
        var left: [String] = ["?"]
        for _ in 0..<600 where !left.isEmpty {
            left = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { name in
                let line =
                    Int(name) == nil ? nil : FileManager.default.contents(atPath: "/proc/\(name)/cmdline")
                return line.map { String(decoding: $0, as: UTF8.self).contains(mark) } ?? false
            }
        }
        #expect(left == [])
    }
}
