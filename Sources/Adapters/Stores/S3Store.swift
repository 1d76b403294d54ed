import Crypto
package import Pipeline
import Topics

/// Objects in S3, or what speaks like it: R2, MinIO, SeaweedFS. One request an object, so up to 5 GB each.
package struct S3Store: ObjectStore {
    package struct Settings: Sendable {
        /// `https://host[:port]`, without bucket.
        package var endpoint: String
        package var bucket: String
        package var region: String
        /// Before every key; with a slash at its end, or empty.
        package var prefix: String
        /// The bucket is the first part of the path, as most servers of one's own want; else of the host.
        package var isPathStyle = true
        package var limits = HTTPLimits(total: .seconds(60), silence: .seconds(20), bodyBytesMax: 1 << 30)
        /// Tries in all; between them a random wait of up to 100 ms, doubled each time, at most 5 s.
        package var attemptsMax = 5

        package init(endpoint: String, bucket: String, region: String, prefix: String) {
            self.endpoint = endpoint
            self.bucket = bucket
            self.region = region
            self.prefix = prefix
        }
    }

    private let settings: Settings
    private let base: String
    private let host: String
    private let root: String
    private let transport: any HTTPTransport
    private let time: TimeSource
    private let chance: ChanceSource
    private let credentials: @Sendable (_ refused: S3Credentials?) async throws -> S3Credentials
    private let skew = ClockSkew()

    /// The credentials are asked for at each request, so that those which expire are renewed; `refused` are
    /// those which the store has just called expired or unknown.
    package init(
        _ settings: Settings,
        transport: any HTTPTransport,
        time: TimeSource,
        chance: ChanceSource,
        credentials: @escaping @Sendable (_ refused: S3Credentials?) async throws -> S3Credentials
    ) {
        self.settings = settings
        self.transport = transport
        self.time = time
        self.chance = chance
        self.credentials = credentials
        let isSecure = settings.endpoint.hasPrefix("https://")
        let slashes = settings.endpoint.firstRange(of: "://")?.upperBound ?? settings.endpoint.startIndex
        var host = String(settings.endpoint[slashes...].prefix { $0 != "/" })
        // As curl writes the Host field.
        let port = isSecure ? ":443" : ":80"
        if host.hasSuffix(port) { host.removeLast(port.count) }
        if !settings.isPathStyle { host = "\(settings.bucket).\(host)" }
        self.host = host
        base = "\(settings.endpoint[..<slashes])\(host)"
        root = settings.isPathStyle ? "/\(PercentCoding.encoded(settings.bucket))" : ""
    }

    package func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
        let response = try await send("GET", try path(key))
        if response.status == 404, !S3Answer.isBucketMissing(response) { return nil }
        guard response.status == 200 else { throw failure("GET", key, response) }
        if let wanted = response.fields[Self.checksumField], wanted != SHA256.hex(response.body) {
            throw ObjectStoreError(
                .corrupt,
                "GET \(key): \(response.body.count) bytes that are not those put"
            )
        }
        return StoredObject(body: response.body, etag: response.fields["ETag"] ?? "")
    }

    /// Our own, kept by every store as metadata of the object: stores' own checksums differ in name and age.
    private static let checksumField = "x-amz-meta-sha256"

    package func put(
        _ key: String,
        _ body: [UInt8],
        if condition: PutCondition
    ) async throws(ObjectStoreError) -> PutResult {
        var fields: HTTPFields = [
            "Content-Type": "application/octet-stream", Self.checksumField: SHA256.hex(body),
        ]
        switch condition {
        case .always: break
        case .absent: fields["If-None-Match"] = "*"
        case .unchanged(let etag): fields["If-Match"] = etag
        }
        let response = try await send("PUT", try path(key), fields: fields, body: body)
        switch response.status {
        case 200, 201, 204: return .stored(etag: response.fields["ETag"] ?? "")
        case 412: return .conditionFailed
        // What some answer to If-Match on an absent key.
        case 404 where condition != .always && !S3Answer.isBucketMissing(response): return .conditionFailed
        default: throw failure("PUT", key, response)
        }
    }

    package func list(
        prefix: String,
        after: String?,
        limit: Int
    ) async throws(ObjectStoreError) -> ObjectListing {
        var query = [
            (name: "list-type", value: "2"), (name: "encoding-type", value: "url"),
            (name: "max-keys", value: "\(min(max(limit, 1), 1_000))"),
            (name: "prefix", value: settings.prefix + prefix),
        ]
        if let after { query.append((name: "start-after", value: settings.prefix + after)) }
        let response = try await send("GET", root.isEmpty ? "/" : root, query: query)
        guard response.status == 200 else { throw failure("LIST", prefix, response) }
        guard let listing = S3Answer.listing(response.body, under: settings.prefix) else {
            throw ObjectStoreError(.corrupt, "LIST \(prefix): the answer is no list of objects")
        }
        return listing
    }

    package func delete(_ key: String) async throws(ObjectStoreError) {
        let response = try await send("DELETE", try path(key))
        guard
            (200..<300).contains(response.status)
                || response.status == 404 && !S3Answer.isBucketMissing(response)
        else { throw failure("DELETE", key, response) }
    }

    private func path(_ key: String) throws(ObjectStoreError) -> String {
        guard ObjectKey.isValid(key) else { throw ObjectStoreError(.invalid, "not an object key: \(key)") }
        let parts = "\(settings.prefix)\(key)".split(separator: "/", omittingEmptySubsequences: false)
        return root + "/" + parts.map { PercentCoding.encoded(String($0)) }.joined(separator: "/")
    }

    /// Sends until an answer says something about the request: the body and its conditions stay the same, so
    /// that a second try is as safe as the first.
    private func send(
        _ method: String,
        _ path: String,
        query: [(name: String, value: String)] = [],
        fields: HTTPFields = HTTPFields(),
        body: [UInt8] = []
    ) async throws(ObjectStoreError) -> HTTPResponse {
        let line = S3Signer.encoded(query)
        let target = base + path + (line.isEmpty ? "" : "?\(line)")
        let plain = HTTPRequest(method: method, target: target, fields: fields, body: body)
        var problem = ""
        var refused: S3Credentials?
        for attempt in 0..<max(settings.attemptsMax, 1) {
            if attempt > 0 { try await pause(attempt) }
            let current = try await currentCredentials(refused)
            var request = plain
            S3Signer(region: settings.region).sign(
                &request,
                host: host,
                path: path,
                query: query,
                with: current,
                at: skew.now(time)
            )
            do throws(HTTPTransportError) {
                let response = try await transport.send(request, limits: limits(body.count))
                if S3Answer.isCredentialsRefused(response), current != refused {
                    refused = current
                } else if let ahead = S3Answer.skew(response, now: time.now()), skew.isNew(ahead) {
                    skew.set(ahead)
                } else if !S3Answer.isTemporary(response) {
                    return response
                }
                problem = "status \(response.status) \(S3Answer.words(response))"
            } catch {
                switch error.kind {
                case .unreachable, .interrupted, .limit: problem = error.detail
                case .invalid: throw ObjectStoreError(.invalid, error.detail)
                case .cancelled: throw ObjectStoreError(.unreachable, error.detail)
                }
            }
        }
        throw ObjectStoreError(.unreachable, "\(method) \(path): \(problem)")
    }

    /// A second more for each MiB sent, so that a slow line carries a large file too.
    private func limits(_ bodyBytes: Int) -> HTTPLimits {
        var limits = settings.limits
        limits.total += .seconds(bodyBytes >> 20)
        return limits
    }

    /// Full jitter: callers that failed together do not come back together.
    private func pause(_ attempt: Int) async throws(ObjectStoreError) {
        let most = min(100 << min(attempt - 1, 10), 5_000)
        do {
            try await time.sleep(.milliseconds(Int64(Double(most) * chance.fraction())))
        } catch {
            throw ObjectStoreError(.unreachable, "cancelled while waiting to try again")
        }
    }

    private func currentCredentials(_ refused: S3Credentials?) async throws(ObjectStoreError) -> S3Credentials
    {
        do {
            return try await credentials(refused)
        } catch {
            let isTemporary = (error as? S3CredentialsError)?.isTemporary == true
            throw ObjectStoreError(
                isTemporary ? .unreachable : .denied,
                "no credentials for \(base): \(error)"
            )
        }
    }

    private func failure(_ method: String, _ key: String, _ response: HTTPResponse) -> ObjectStoreError {
        let detail = "\(method) \(key): \(response.status) \(S3Answer.words(response))"
        return switch response.status {
        case 401, 403: ObjectStoreError(.denied, "\(detail)\(Self.advice(response))")
        case 404: ObjectStoreError(.invalid, "\(detail): create the bucket \(settings.bucket)")
        case 413, 507: ObjectStoreError(.noSpace, detail)
        case 500...: ObjectStoreError(.unreachable, detail)
        default: ObjectStoreError(.invalid, detail)
        }
    }

    private static func advice(_ response: HTTPResponse) -> String {
        let words = S3Answer.words(response)
        if words.hasPrefix("RequestTimeTooSkewed") { return "; set this machine's clock" }
        if words.hasPrefix("SignatureDoesNotMatch") {
            return "; check the secret key, and the region in the settings"
        }
        return ""
    }
}
