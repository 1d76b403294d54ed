/// What the formatter can not check, as pure functions of a file's text. Each finding says where and what to
/// do.
enum TidyRules {
    static let fileLinesMax = 500
    static let functionLinesMax = 60
    static let lineLengthMax = 110

    /// The arrows between the targets: what each may import, beside what comes with the toolchain.
    static let imports: [String: Set<String>] = [
        "Topics": ["JSON"],
        "JSON": [],
        "YAML": ["CYAML"],
        "Compression": ["CZstd"],
        "Crypto": ["COpenSSL"],
        "Network": ["CLinux", "Crypto"],
        "Telemetry": [],
        "Pipeline": ["Compression", "Crypto", "JSON", "Telemetry", "Topics", "YAML"],
        "Adapters": ["Crypto", "JSON", "Pipeline", "Telemetry", "Topics"],
        "EmbeddedLog": ["CLinux", "CSQLite", "Pipeline", "Telemetry", "Topics"],
        "KafkaLog": ["CRDKafka", "JSON", "Pipeline", "Telemetry", "Topics"],
        "LinuxSandbox": [
            "CLinux", "CSandbox", "CSeccomp", "Crypto", "Network", "Pipeline", "Telemetry",
        ],
        "Edge": ["CCurl", "CLinux", "JSON", "Network", "Pipeline", "Telemetry"],
        "PipelineTesting": ["Crypto", "JSON", "Pipeline", "Telemetry", "Topics"],
        "PenstockTool": [
            "CLinux",
            "Adapters", "Crypto", "Edge", "EmbeddedLog", "JSON", "KafkaLog", "LinuxSandbox", "Network",
            "Pipeline", "Telemetry",
            "Topics", "YAML",
        ],
    ]
    static let toolchain: Set<String> = ["Dispatch", "Glibc", "Synchronization"]

    /// Calls that have one home; the value says which files.
    static let homes: [(call: String, files: [String], cure: String)] = [
        ("Date()", ["WebChatDocument+Script.swift"], "take a TimeSource"),
        ("UUID()", [], "take a ChanceSource"),
        (".random(", [], "take a ChanceSource"),
        ("SystemRandomNumberGenerator", [], "take a ChanceSource"),
        ("Task.sleep", ["TimeSource+System.swift", "HTTPServer.swift"], "take a TimeSource"),
        ("Task.detached", [], "give the task a parent that awaits it"),
        ("Task.immediateDetached", ["HTTPConnection.swift"], "give the task a parent that awaits it"),
        (
            "print(", ["SandboxCommand.swift", "WarmPython.swift"],
            "use Terminal for results and Logger for the rest"
        ),
        ("try! ", [], "handle the error"),
        ("getenv(", ["SettingsFile.swift"], "take it from the settings"),
    ]

    /// Words that need a comment above them which says why they are right.
    static let explained = ["@unchecked", "nonisolated(unsafe)", "unsafeBitCast", "try? "]

    static func check(_ text: String, path: String) -> [String] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var findings: [String] = []
        if lines.count > fileLinesMax + 1 {
            findings.append("\(path): \(lines.count) lines, at most \(fileLinesMax): split it by concern")
        }
        for (index, line) in lines.enumerated() where line.count > lineMax(path) && !mayBeLong(line, path) {
            findings.append("\(path):\(index + 1): \(line.count) characters, at most \(lineLengthMax)")
        }
        findings += checkFunctions(lines, path: path)
        return findings
    }

    /// C is written a little wider: a step a line, with its check.
    private static func lineMax(_ path: String) -> Int {
        path.hasSuffix(".c") || path.hasSuffix(".h") ? lineLengthMax + 10 : lineLengthMax
    }

    /// Quoted text is not broken: addresses, the programs and payloads of tests, the page's document.
    private static func mayBeLong(_ line: String, _ path: String) -> Bool {
        line.contains("http") || path.contains("Document") || path.hasPrefix("Tests/") && line.contains("\"")
            || path.hasPrefix("Tests/LinuxSandboxTests/Attacks")
    }

    static func checkSource(_ text: String, path: String, target: String) -> [String] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var findings: [String] = []
        let name = path.split(separator: "/").last.map(String.init) ?? path
        for (index, line) in lines.enumerated() {
            let place = "\(path):\(index + 1)"
            if let module = module(imported: line), !toolchain.contains(module),
                imports[target]?.contains(module) != true
            {
                findings.append(
                    "\(place): \(target) may not import \(module): see the arrows in Architecture.md"
                )
            }
            let code = withoutComment(line)
            for home in homes
            where code.contains(home.call) && !home.files.contains(name) && !isLongerWord(code, home.call) {
                findings.append("\(place): \(home.call) belongs elsewhere: \(home.cure)")
            }
            for word in explained
            where code.contains(word) && !isLongerWord(code, word) && !isExplained(lines, index) {
                findings.append(
                    "\(place): \(word.trimmed) needs a comment above it that says why it is right"
                )
            }
        }
        return findings
    }

    /// Calls in the sandbox's child that are not in its list of raw system calls.
    static func checkChild(_ text: String, path: String, raw: String) -> [String] {
        let forbidden = [
            "malloc(", "free(", "printf(", "fprintf(", "snprintf(", "exit(", "signal(", "sigaction(",
            "getenv(", "syslog(", "pthread_",
        ]
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().flatMap {
            index,
            line in
            let code = withoutComment(String(line))
            return forbidden.filter { call in code.contains(call) && !isLongerWord(code, call) }
                .map { "\(path):\(index + 1): \($0) may hold a lock for ever after clone: use raw.h" }
        }
    }

    private static func checkFunctions(_ lines: [String], path: String) -> [String] {
        var findings: [String] = []
        var starts: [(line: Int, indent: Int)] = []
        for (index, line) in lines.enumerated() {
            let indent = line.prefix { $0 == " " }.count
            let body = line.dropFirst(indent)
            let isFunction = body.contains("func ") || body.hasPrefix("init(") || body.contains(" init(")
            let isWhole = body.contains("{") && body.hasSuffix("}")
            if isFunction, !isWhole, !body.hasPrefix("//"), !body.hasPrefix("\"") {
                // Without a body of its own (in a protocol) the one before at this depth is over.
                starts.removeAll { $0.indent >= indent }
                starts.append((index, indent))
            }
            if body.hasPrefix("}"), let start = starts.last(where: { $0.indent == indent }) {
                if index - start.line + 1 > functionLinesMax {
                    findings.append(
                        "\(path):\(start.line + 1): a function of \(index - start.line + 1) lines, at most \(functionLinesMax)"
                    )
                }
                starts.removeAll { $0.indent >= indent }
            }
        }
        return findings
    }

    /// An import stands at the margin; what is indented is text in another language.
    private static func module(imported line: String) -> String? {
        guard line.first != " " else { return nil }
        var words = line.split(separator: " ")
        if let first = words.first, ["package", "public", "internal", "@preconcurrency"].contains(first) {
            words.removeFirst()
        }
        guard words.first == "import", words.count >= 2 else { return nil }
        return String(words[1])
    }

    private static func withoutComment(_ line: String) -> String {
        if line.trimmed.hasPrefix("//") || line.trimmed.hasPrefix("*") || line.trimmed.hasPrefix("/*") {
            return ""
        }
        guard let range = line.range(of: " // ") else { return line }
        return String(line[..<range.lowerBound])
    }

    /// `print(` within `fingerprint(` is another word.
    private static func isLongerWord(_ code: String, _ call: String) -> Bool {
        guard let first = call.first, first.isLetter, let range = code.range(of: call),
            range.lowerBound > code.startIndex
        else { return false }
        let before = code[code.index(before: range.lowerBound)]
        return before.isLetter || before == "_" || before.isNumber || before == "\""
    }

    /// A comment on one of the three lines above, or within them the start of a commented declaration.
    private static func isExplained(_ lines: [String], _ index: Int) -> Bool {
        lines[max(0, index - 4)...index + (index + 1 < lines.count ? 1 : 0)].contains {
            $0.trimmed.hasPrefix("//") || $0.contains(" // ")
        }
    }
}

extension String {
    var trimmed: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}

extension String {
    func range(of other: String) -> Range<String.Index>? { firstRange(of: other) }
}
