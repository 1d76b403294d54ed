import Foundation
import JSON
import Pipeline
import Testing

@testable import Adapters

/// The built program with its state on SeaweedFS, and the credentials of the environment.
@Suite("Interop: penstock on S3", .serialized)
struct S3CommandTests {
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock")

    private struct Machine {
        let folder: URL
        let server: S3Server

        var config: String { folder.appending(path: "penstock.yaml").path }

        init(_ kind: S3Server.Kind, bucket: String = "penstock-test") async throws {
            server = try await S3Server(kind, try await PythonEnvironment.python())
            try await server.createBucket()
            folder = FileManager.default.temporaryDirectory.appending(
                path: "penstock-s3-command-\(UUID().uuidString)"
            )
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let text = """
                data: \(folder.path)/data
                http: { port: 0 }
                store: { s3: { endpoint: "http://127.0.0.1:\(server.port)", bucket: \(bucket), prefix: a/b } }
                """
            try text.write(toFile: config, atomically: true, encoding: .utf8)
        }

        func remove() {
            server.stop()
            try? FileManager.default.removeItem(at: folder)
        }

        func process(_ arguments: [String], _ environment: [String: String]) -> Process {
            let process = Process()
            process.executableURL = S3CommandTests.program
            process.arguments = arguments + ["--config", config]
            process.environment = environment
            return process
        }

        /// With `environment` alone, beside the two keys unless they are in it.
        func run(_ arguments: String..., environment: [String: String] = S3CommandTests.keys) async throws
            -> PythonEnvironment.Outcome
        {
            let process = process(arguments, environment)
            let output = Pipe()
            process.standardOutput = output
            process.standardError = output
            return try await withCheckedThrowingContinuation { continuation in
                Thread.detachNewThread {
                    do {
                        try process.run()
                        let data = output.fileHandleForReading.readDataToEndOfFile()
                        process.waitUntilExit()
                        continuation.resume(
                            returning: PythonEnvironment.Outcome(
                                status: process.terminationStatus,
                                output: String(decoding: data, as: UTF8.self)
                            )
                        )
                    } catch {
                        continuation.resume(throwing: error)
                    }
                }
            }
        }
    }

    private static let keys = ["AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"]

    @Test("a message is answered, its turn is in the bucket, and the next start goes on from it")
    func answers() async throws {
        let machine = try await Machine(.seaweed)
        defer { machine.remove() }
        for round in 1...2 {
            let service = machine.process(["run", "--log-level", "warning"], Self.keys)
            service.standardOutput = FileHandle.nullDevice
            try service.run()
            var answer = PythonEnvironment.Outcome(status: -1, output: "")
            for _ in 0..<60 where answer.status != 0 {
                let text = round == 1 ? "/remember color blue" : "/recall color"
                answer = try await machine.run("send", "--id", "event-\(round)", text)
                if answer.status != 0 { try await Task.sleep(for: .milliseconds(500)) }
            }
            kill(service.processIdentifier, round == 1 ? SIGKILL : SIGTERM)
            service.waitUntilExit()
            #expect(answer.status == 0, "\(answer.output)")
            #expect(answer.output.contains("blue"), "\(answer.output)")
        }

        let list = try await machine.run("conversations", "list", "--json")
        let listed = try await machine.server.store(change: { $0.prefix = "a/b/c/" })
            .list(prefix: "", after: nil, limit: 100)

        let line = try JSONValue(json: Array(list.output.utf8.prefix { $0 != 0x0A }))
        #expect(line["turn"] == .integer(2), "\(list.output)")
        #expect(listed.entries.contains { $0.key.contains("/t/") })
        #expect(!FileManager.default.fileExists(atPath: machine.folder.path + "/data/store"))
    }

    @Test("doctor and start say what is wrong with a store, and with its credentials")
    func diagnosis() async throws {
        let machine = try await Machine(.moto, bucket: "not-made-yet")
        defer { machine.remove() }

        let doctor = try await machine.run("doctor", "--offline", "--json")
        let start = try await machine.run("worker")
        let nobody = try await machine.run("worker", environment: ["HOME": machine.folder.path])

        let finding = doctor.output.split(separator: "\n").first { $0.contains("\"id\":\"store\"") }
        #expect(finding?.contains("create the bucket not-made-yet") == true, "\(doctor.output)")
        #expect(
            start.status == 1 && start.output.contains("create the bucket not-made-yet"),
            "\(start.output)"
        )
        #expect(nobody.status == 1 && nobody.output.contains("AWS_ACCESS_KEY_ID"), "\(nobody.output)")
    }

    @Test("a web identity is changed into credentials by the token service, and they open the store")
    func webIdentity() async throws {
        let machine = try await Machine(.moto)
        defer { machine.remove() }
        let token = machine.folder.appending(path: "token")
        try "a.web.token".write(to: token, atomically: true, encoding: .utf8)

        let doctor = try await machine.run(
            "doctor",
            "--offline",
            "--json",
            environment: [
                "AWS_WEB_IDENTITY_TOKEN_FILE": token.path,
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/penstock",
                "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:\(machine.server.port)",
            ]
        )

        let finding = doctor.output.split(separator: "\n").first { $0.contains("\"id\":\"store\"") }
        #expect(finding?.contains("\"state\":\"ok\"") == true, "\(doctor.output)")
    }
}
