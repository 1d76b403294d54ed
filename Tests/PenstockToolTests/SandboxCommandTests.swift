import Foundation
import Testing

/// The command as people and scripts meet it: the built program, its exit codes and its streams.
@Suite("penstock sandbox run")
struct SandboxCommandTests {
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock")

    private func run(_ arguments: [String], input: String = "") throws -> (
        status: Int32, output: String, error: String
    ) {
        let process = Process()
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        process.executableURL = Self.program
        process.arguments = ["sandbox", "run"] + arguments
        (process.standardInput, process.standardOutput, process.standardError) = (stdin, stdout, stderr)
        try process.run()
        stdin.fileHandleForWriting.write(Data(input.utf8))
        try stdin.fileHandleForWriting.close()
        let output = stdout.fileHandleForReading.readDataToEndOfFile()
        let error = stderr.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (
            process.terminationStatus, String(decoding: output, as: UTF8.self),
            String(decoding: error, as: UTF8.self)
        )
    }

    @Test(
        "exits as its contract says",
        arguments: [
            (["--", "bash", "-c", "exit 7"], 7),
            (["bash", "-c", "kill -TERM $$"], 128 + 15),
            (["--timeout", "1", "--", "sleep", "30"], 124),
            (["--", "no-such-program"], 127),
            (["--workspace", "/no/such", "--", "true"], 2),
            (["--net", "all", "--", "true"], 2),
            (["--memory", "lots", "--", "true"], 2),
            ([], 2),
            (["--memory=64M", "--net=none", "--", "true"], 0),
        ] as [([String], Int32)]
    )
    func exits(arguments: [String], status: Int32) throws {
        let result = try run(arguments)

        #expect(result.status == status, "\(result.error)")
    }

    @Test("input, output and errors pass through")
    func passesStreams() throws {
        let result = try run(["--", "bash", "-c", "tr a-z A-Z; echo no >&2"], input: "hello\n")

        #expect(result.output == "HELLO\n")
        #expect(result.error == "no\n")
    }

    @Test("none of our environment is inside, and a workspace stays")
    func keepsApart() throws {
        var template = Array("/tmp/penstock-command-XXXXXX".utf8CString)
        _ = try #require(mkdtemp(&template))
        let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        setenv("PENSTOCK_TEST_SECRET", "hush", 1)

        let result = try run(["--workspace", folder, "--", "bash", "-c", "env | tee seen"])

        #expect(!result.output.contains("hush"))
        #expect(try String(contentsOfFile: folder + "/seen", encoding: .utf8) == result.output)
    }
}
