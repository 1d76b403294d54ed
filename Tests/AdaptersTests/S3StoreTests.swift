import Crypto
import JSON
import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@testable import Adapters

@Suite("S3 store")
struct S3StoreTests {
    private static func answer(_ status: Int, code: String = "", _ fields: HTTPFields = HTTPFields())
        -> FakeTransport.Answer
    {
        let body = code.isEmpty ? "" : "<Error><Code>\(code)</Code><Message>said so</Message></Error>"
        return .response(HTTPResponse(status: status, fields: fields, body: Array(body.utf8)))
    }

    private func store(
        _ transport: FakeTransport,
        clock: TestClock = .hasty(),
        change: (inout S3Store.Settings) -> Void = { _ in },
        credentials: @escaping @Sendable (S3Credentials?) async throws -> S3Credentials = { _ in
            S3Credentials(accessKey: "a", secretKey: "s")
        }
    ) -> S3Store {
        var settings = S3Store.Settings(
            endpoint: "https://s3.example:9000",
            bucket: "box",
            region: "us-east-1",
            prefix: "p/"
        )
        change(&settings)
        let chance = ChanceSource(identifier: { "id" }, fraction: { 0.5 })
        return S3Store(
            settings,
            transport: transport,
            time: clock.source,
            chance: chance,
            credentials: credentials
        )
    }

    @Test("a put is sent again, the same in all but its signature, until somebody answers it")
    func retries() async throws {
        let transport = FakeTransport([
            Self.answer(503, code: "SlowDown"), .failure(.interrupted), .failure(.limit),
            Self.answer(409, code: "ConditionalRequestConflict"), Self.answer(200, ["ETag": "\"e\""]),
        ])

        let result = try await store(transport).put("k", [1, 2], if: .absent)

        #expect(result == .stored(etag: "\"e\""))
        #expect(transport.requests.count == 5)
        #expect(Set(transport.requests.map(\.body)) == [[1, 2]])
        #expect(transport.requests.allSatisfy { $0.fields["If-None-Match"] == "*" })
        #expect(transport.requests.allSatisfy { $0.target == "https://s3.example:9000/box/p/k" })
    }

    @Test("a condition that fails is a result, also after a response that was lost: the caller compares")
    func conditionFails() async throws {
        let transport = FakeTransport([.failure(.interrupted), Self.answer(412, code: "PreconditionFailed")])
        #expect(try await store(transport).put("k", [1], if: .absent) == .conditionFailed)
        let absent = FakeTransport([Self.answer(404, code: "NoSuchKey")])
        #expect(try await store(absent).put("k", [1], if: .unchanged(etag: "e")) == .conditionFailed)
    }

    @Test("the waits between tries grow, are a part of their most by chance, and end")
    func jitter() async throws {
        let clock = TestClock.hasty()
        let start = clock.now
        let transport = FakeTransport(Array(repeating: Self.answer(500), count: 9))
        let error = await #expect(throws: ObjectStoreError.self) {
            try await store(transport, clock: clock).get("k")
        }
        #expect(error?.kind == .unreachable)
        #expect(transport.requests.count == 5)
        // Halves of 100, 200, 400 and 800 ms.
        #expect(clock.now - start == .milliseconds(750))
    }

    @Test("expired credentials are asked for anew, and the request goes on with others")
    func expiredCredentials() async throws {
        let asked = Mutex<[String?]>([])
        let transport = FakeTransport([Self.answer(400, code: "ExpiredToken"), Self.answer(200)])
        let store = store(
            transport,
            credentials: { refused in
                asked.withLock { $0.append(refused?.accessKey) }
                return S3Credentials(accessKey: refused == nil ? "old" : "new", secretKey: "s")
            }
        )

        _ = try await store.put("k", [1], if: .absent)

        #expect(asked.withLock { $0 } == [nil, "old"])
        #expect(transport.requests.last?.fields["Authorization"]?.contains("Credential=new/") == true)
    }

    @Test("credentials that stay refused are an error with the store's words")
    func refusedCredentials() async throws {
        let transport = FakeTransport(
            Array(repeating: Self.answer(403, code: "InvalidAccessKeyId"), count: 9)
        )
        let error = await #expect(throws: ObjectStoreError.self) { try await store(transport).get("k") }
        #expect(error?.kind == .denied && error?.detail.contains("InvalidAccessKeyId: said so") == true)
        #expect(transport.requests.count == 2)
    }

    @Test("a clock that is wrong is made good by the store's own time")
    func clockSkew() async throws {
        let transport = FakeTransport([
            Self.answer(403, code: "RequestTimeTooSkewed", ["Date": "Wed, 25 Nov 2026 22:08:30 GMT"]),
            Self.answer(200), Self.answer(200),
        ])
        let store = store(transport)

        _ = try await store.put("k", [1], if: .absent)
        _ = try await store.put("l", [1], if: .absent)

        let stamps = transport.requests.compactMap { $0.fields["x-amz-date"] }
        #expect(stamps.count == 3 && stamps[0] != stamps[1])
        #expect(stamps.dropFirst().allSatisfy { $0.hasPrefix("20261125T2208") })
    }

    @Test("bytes that are not those put are corrupt, and so is half of them")
    func checksum() async throws {
        let put = FakeTransport([Self.answer(200)])
        _ = try await store(put).put("k", [1, 2, 3], if: .always)
        let sum = try #require(put.requests.first?.fields["x-amz-meta-sha256"])
        let answer = { (body: [UInt8]) in
            FakeTransport([
                .response(HTTPResponse(status: 200, fields: ["x-amz-meta-sha256": sum], body: body))
            ])
        }
        #expect(try await store(answer([1, 2, 3])).get("k")?.body == [1, 2, 3])
        for body in [[1, 2, 4], [1, 2], []] as [[UInt8]] {
            let error = await #expect(throws: ObjectStoreError.self) {
                try await store(answer(body)).get("k")
            }
            #expect(error?.kind == .corrupt)
        }
    }

    @Test("the bucket is in the path or in the host")
    func styles() async throws {
        let transport = FakeTransport([Self.answer(404, code: "NoSuchKey")])
        _ = try await store(transport, change: { $0.isPathStyle = false }).get("a/b~%41")
        #expect(transport.requests.first?.target == "https://box.s3.example:9000/p/a/b~%2541")
    }

    @Test("a missing bucket is not taken for a missing object")
    func missingBucket() async throws {
        let answers = Array(repeating: Self.answer(404, code: "NoSuchBucket"), count: 4)
        let store = store(FakeTransport(answers))
        for call in [
            { _ = try await store.get("k") }, { _ = try await store.put("k", [], if: .absent) },
            { try await store.delete("k") }, { _ = try await store.list(prefix: "k", after: nil, limit: 1) },
        ] as [@Sendable () async throws -> Void] {
            let error = await #expect(throws: ObjectStoreError.self) { try await call() }
            #expect(error?.kind == .invalid && error?.detail.contains("create the bucket box") == true)
        }
    }
}
