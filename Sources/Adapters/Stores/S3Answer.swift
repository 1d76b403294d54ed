import Pipeline
import Topics

/// What S3's answers say: XML of a few known shapes, of which only these words are looked for.
enum S3Answer {
    /// `<Code>` and `<Message>` of an error, for the log.
    static func words(_ response: HTTPResponse) -> String {
        let text = String(decoding: response.body.prefix(4_096), as: UTF8.self)
        let words = [element("Code", in: text[...]), element("Message", in: text[...])].compactMap(\.self)
        return words.map { String($0.prefix(200)) }.joined(separator: ": ")
    }

    static func isBucketMissing(_ response: HTTPResponse) -> Bool {
        words(response).hasPrefix("NoSuchBucket")
    }

    /// Says nothing about the request: the same again may do. 409 is another's conditional write under way.
    static func isTemporary(_ response: HTTPResponse) -> Bool {
        switch response.status {
        case 408, 409, 429, 500, 502, 503, 504: true
        case 400: words(response).hasPrefix("RequestTimeout")
        default: false
        }
    }

    /// The credentials are no longer, or not yet, good: others may do.
    static func isCredentialsRefused(_ response: HTTPResponse) -> Bool {
        guard [400, 401, 403].contains(response.status) else { return false }
        let words = words(response)
        return ["ExpiredToken", "TokenRefreshRequired", "InvalidAccessKeyId", "InvalidToken"].contains {
            words.hasPrefix($0)
        }
    }

    /// How far the store's clock is ahead of ours, when that is what it complains of.
    static func skew(_ response: HTTPResponse, now: Timestamp) -> Duration? {
        guard response.status == 403, words(response).hasPrefix("RequestTimeTooSkewed"),
            let date = response.fields["Date"].flatMap(time(ofHTTPDate:))
        else { return nil }
        return date - now
    }

    /// `Wed, 25 Nov 2026 22:08:30 GMT`
    static func time(ofHTTPDate text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        guard words.count == 6, words[5] == "GMT", let month = months.firstIndex(of: String(words[2])) else {
            return nil
        }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        return Timestamp(rfc3339: "\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }

    /// Nil when it is no list.
    static func listing(_ body: [UInt8], under prefix: String) -> ObjectListing? {
        let text = String(decoding: body, as: UTF8.self)
        guard text.contains("<ListBucketResult") else { return nil }
        let isEncoded = text.contains("<EncodingType>url</EncodingType>")
        var entries: [ObjectListing.Entry] = []
        var rest = text[...]
        while let contents = next("Contents", in: &rest) {
            guard let written = element("Key", in: contents), let size = element("Size", in: contents),
                let count = Int(strictly: size),
                let key = isEncoded ? decoded(written) : String(written), key.hasPrefix(prefix)
            else { return nil }
            entries.append(ObjectListing.Entry(key: String(key.dropFirst(prefix.count)), byteCount: count))
        }
        return ObjectListing(entries: entries, isTruncated: element("IsTruncated", in: text[...]) == "true")
    }

    static func element(_ name: String, in text: Substring) -> Substring? {
        var text = text
        return next(name, in: &text)
    }

    /// What is in the next element of the name, and moves behind it.
    private static func next(_ name: String, in text: inout Substring) -> Substring? {
        guard let start = text.firstRange(of: "<\(name)>"),
            let end = text[start.upperBound...].firstRange(of: "</\(name)>")
        else { return nil }
        defer { text = text[end.upperBound...] }
        return text[start.upperBound..<end.lowerBound]
    }

    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
