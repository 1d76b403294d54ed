import CCurl
import Pipeline

/// Turns a request into libcurl's options. Each line has its reason: libcurl's defaults are a browser's, not
/// ours.
struct CurlSetup: Sendable {
    let userAgent: String
    /// Nil for none; never taken from the environment unseen.
    let proxy: String?

    /// False when the request cannot be sent as it is.
    func prepare(_ transfer: CurlTransfer) -> Bool {
        let request = transfer.request
        guard isSafe(request.target), isSafe(request.method),
            request.fields.all.allSatisfy({ isName($0.name) && isSafe($0.value) }),
            let easy = curl_easy_init()
        else { return false }
        transfer.easy = easy
        penstock_easy_pointer(easy, CURLOPT_PRIVATE, Unmanaged.passUnretained(transfer).toOpaque())
        penstock_easy_text(easy, CURLOPT_URL, request.target)
        penstock_easy_text(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        penstock_easy_long(easy, CURLOPT_NOSIGNAL, 1)
        // A cancel during name look-up would join the resolver's thread.
        penstock_easy_long(easy, CURLOPT_QUICK_EXIT, 1)
        penstock_easy_long(easy, CURLOPT_BUFFERSIZE, 16_384)
        penstock_easy_long(easy, CURLOPT_PATH_AS_IS, 1)
        penstock_easy_long(easy, CURLOPT_FOLLOWLOCATION, 0)
        penstock_easy_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        penstock_easy_long(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        penstock_easy_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
        penstock_easy_text(easy, CURLOPT_PROXY, proxy ?? "")
        // With Debian's default path of certificates every new connection reads them all again.
        penstock_easy_text(easy, CURLOPT_CAPATH, nil)
        penstock_easy_text(easy, CURLOPT_ACCEPT_ENCODING, "")
        penstock_easy_text(easy, CURLOPT_USERAGENT, userAgent)
        setLimits(easy, transfer)
        setBody(easy, transfer)
        setCallbacks(easy, transfer)
        return true
    }

    private func setLimits(_ easy: UnsafeMutableRawPointer, _ transfer: CurlTransfer) {
        let limits = transfer.limits
        let left = transfer.deadline - .now
        penstock_easy_long(easy, CURLOPT_TIMEOUT_MS, Int(max(left.milliseconds, 1)))
        penstock_easy_long(easy, CURLOPT_CONNECTTIMEOUT_MS, Int(max(limits.silence.milliseconds, 1)))
        penstock_easy_long(easy, CURLOPT_LOW_SPEED_LIMIT, 1)
        penstock_easy_long(easy, CURLOPT_LOW_SPEED_TIME, Int(max(limits.silence.milliseconds / 1_000, 1)))
    }

    private func setBody(_ easy: UnsafeMutableRawPointer, _ transfer: CurlTransfer) {
        let request = transfer.request
        var names: Set<String> = []
        for field in request.fields.all {
            // An empty value is written with a semicolon; with a colon libcurl would drop the field.
            let line = field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)"
            transfer.list = curl_slist_append(transfer.list, line)
            names.insert(field.name.lowercased())
        }
        for (name, line) in [("expect", "Expect:"), ("accept", "Accept:"), ("content-type", "Content-Type:")]
        where !names.contains(name) {
            transfer.list = curl_slist_append(transfer.list, line)
        }
        penstock_easy_pointer(easy, CURLOPT_HTTPHEADER, UnsafeMutableRawPointer(transfer.list))
        if request.method == "HEAD" {
            penstock_easy_long(easy, CURLOPT_NOBODY, 1)
        } else if request.method != "GET" || !request.body.isEmpty {
            let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(request.body.count, 1))
            bytes.initialize(from: request.body, count: request.body.count)
            transfer.body = bytes
            penstock_easy_long(easy, CURLOPT_POST, 1)
            penstock_easy_size(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
            penstock_easy_pointer(easy, CURLOPT_POSTFIELDS, UnsafeMutableRawPointer(bytes))
            penstock_easy_text(easy, CURLOPT_CUSTOMREQUEST, request.method)
        }
    }

    private func setCallbacks(_ easy: UnsafeMutableRawPointer, _ transfer: CurlTransfer) {
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        penstock_easy_pointer(easy, CURLOPT_WRITEDATA, context)
        penstock_easy_write(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
            guard !transfer.isCancelled else { return 0 }
            if transfer.isStreaming, transfer.mustPause() { return Int(CURL_WRITEFUNC_PAUSE) }
            let total = size * count
            return bytes.withMemoryRebound(to: UInt8.self, capacity: total) { start in
                transfer.take(UnsafeBufferPointer(start: start, count: total)) ? total : 0
            }
        }
        penstock_easy_pointer(easy, CURLOPT_HEADERDATA, context)
        penstock_easy_write(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let total = size * count
            let line = bytes.withMemoryRebound(to: UInt8.self, capacity: total) { start in
                String(decoding: UnsafeBufferPointer(start: start, count: total), as: UTF8.self)
            }
            return Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue().takeHead(line)
                ? total : 0
        }
        penstock_easy_pointer(easy, CURLOPT_PREREQDATA, context)
        penstock_easy_prereq(easy) { context, _, _, _, _ in
            guard let context else { return CURL_PREREQFUNC_OK }
            let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
            transfer.sends += 1
            if transfer.sends == 1 { transfer.engine.hasStarted(transfer) }
            // libcurl sends again by itself when a kept connection closes without an answer.
            if transfer.sends > 1, !transfer.isSafe {
                transfer.isResendStopped = true
                return CURL_PREREQFUNC_ABORT
            }
            return CURL_PREREQFUNC_OK
        }
    }

    private func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
    }

    /// Line ends in any of these would let whoever wrote the value add fields, or a request, of their own.
    private func isSafe(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }
}

extension CurlTransfer {
    /// Long enough for every honest server; libcurl's own limit is for one line.
    private static let headBytesMax = 256 * 1_024

    /// Whether sending it twice does what sending it once does, so that libcurl may.
    fileprivate var isSafe: Bool { request.method == "GET" || request.method == "HEAD" }

    /// A line of the head: a status line begins it anew (100 Continue comes before the answer's own head).
    /// False when the transfer is to end here.
    fileprivate func takeHead(_ line: String) -> Bool {
        headCount += line.utf8.count
        guard headCount <= Self.headBytesMax else {
            isHeadOverLimit = true
            return false
        }
        if line.hasPrefix("HTTP/") {
            fields = HTTPFields()
            return true
        }
        guard let colon = line.firstIndex(of: ":") else { return true }
        let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
        fields.append(String(line[..<colon]), value.trimmingLineEnd)
        return true
    }
}

extension Substring {
    fileprivate var trimmingLineEnd: String {
        var text = self
        while let last = text.unicodeScalars.last, last == "\r" || last == "\n" || last == " " {
            text.unicodeScalars.removeLast()
        }
        return String(text)
    }
}
