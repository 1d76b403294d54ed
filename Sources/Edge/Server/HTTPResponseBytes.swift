import Pipeline

/// Answers as they go on the wire.
enum HTTPResponseBytes {
    static func whole(_ response: HTTPResponse, isHead: Bool, keepsAlive: Bool) -> [UInt8] {
        let hasBody = response.status != 204 && response.status != 304 && response.status >= 200
        let length = hasBody ? response.body.count : nil
        var bytes = head(
            response.status,
            response.fields,
            length: length,
            keepsAlive: keepsAlive,
            isChunked: false
        )
        if hasBody, !isHead { bytes.append(contentsOf: response.body) }
        return bytes
    }

    static func head(
        _ status: Int,
        _ fields: HTTPFields,
        length: Int?,
        keepsAlive: Bool,
        isChunked: Bool
    ) -> [UInt8] {
        var text = "HTTP/1.1 \(status) \(reason(status))\r\n"
        for field in fields.all where !isOurs(field.name) && isSafe(field.name) && isSafe(field.value) {
            text += "\(field.name): \(field.value)\r\n"
        }
        if let length { text += "Content-Length: \(length)\r\n" }
        if isChunked { text += "Transfer-Encoding: chunked\r\n" }
        if !keepsAlive { text += "Connection: close\r\n" }
        return Array((text + "\r\n").utf8)
    }

    private static func isOurs(_ name: String) -> Bool {
        ["content-length", "transfer-encoding", "connection"].contains(name.lowercased())
    }

    /// A line end in a value would end the field, and let whoever chose the value write the rest of the
    /// answer.
    private static func isSafe(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 202: "Accepted"
        case 204: "No Content"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
