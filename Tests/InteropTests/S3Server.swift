import Edge
import Foundation
import Pipeline
import Topics

@testable import Adapters

/// moto or SeaweedFS on loopback, with a folder of its own, until it is stopped.
final class S3Server {
    enum Kind: String, CaseIterable {
        case moto
        case seaweed
    }

    static let transport = CurlTransport(transfersMax: 32, shards: 1, userAgent: "penstock-tests")
    static let keys = S3Credentials(accessKey: "testing", secretKey: "testing")

    private let process = Process()
    private let folder = FileManager.default.temporaryDirectory.appending(
        path: "penstock-s3-\(UUID().uuidString)"
    )
    let port: Int

    init(_ kind: Kind, _ python: URL) async throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let ports = try FreePorts.take(8)
        port = ports[0]
        let programs = python.deletingLastPathComponent()
        switch kind {
        case .moto:
            process.executableURL = programs.appending(path: "moto_server")
            process.arguments = ["-H", "127.0.0.1", "-p", "\(port)"]
        case .seaweed:
            process.executableURL = programs.appending(path: "weed")
            let names = [
                "s3", "filer", "master", "volume", "s3.grpc", "filer.grpc", "master.grpc", "volume.grpc",
            ]
            let options = zip(names, ports).map { name, port in
                let parts = name.split(separator: ".")
                return "-\(parts[0]).port\(parts.count > 1 ? ".grpc" : "")=\(port)"
            }
            process.arguments =
                [
                    "-logdir=\(folder.path)", "server", "-s3", "-dir=\(folder.path)", "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64",
                    "-volume.max=50",
                ] + options
        }
        // SeaweedFS takes these as the keys it knows, and checks every signature against them.
        process.environment = [
            "HOME": folder.path, "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "",
            "AWS_ACCESS_KEY_ID": Self.keys.accessKey, "AWS_SECRET_ACCESS_KEY": Self.keys.secretKey,
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    var store: S3Store { store() }

    /// `port`: of a proxy before the server; `change`: whatever else is to be otherwise.
    func store(
        bucket: String = "penstock-test",
        transport: any HTTPTransport = S3Server.transport,
        port: Int? = nil,
        keys: S3Credentials = S3Server.keys,
        change: (inout S3Store.Settings) -> Void = { _ in }
    ) -> S3Store {
        var settings = S3Store.Settings(
            endpoint: "http://127.0.0.1:\(port ?? self.port)",
            bucket: bucket,
            region: "us-east-1",
            prefix: "some/where/"
        )
        change(&settings)
        return S3Store(
            settings,
            transport: transport,
            time: .system,
            chance: .system
        ) { _ in keys }
    }

    /// Waits for the server to come up, at most a minute.
    func createBucket() async throws {
        let host = "127.0.0.1:\(port)"
        let limits = HTTPLimits(total: .seconds(5), silence: .seconds(5), bodyBytesMax: 1 << 20)
        for _ in 0..<600 {
            var request = HTTPRequest(method: "PUT", target: "http://\(host)/penstock-test")
            S3Signer(region: "us-east-1").sign(
                &request,
                host: host,
                path: "/penstock-test",
                query: [],
                with: Self.keys,
                at: TimeSource.system.now()
            )
            if let response = try? await Self.transport.send(request, limits: limits), response.status == 200
            {
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw CocoaError(.featureUnsupported)
    }

    func stop() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }
}
