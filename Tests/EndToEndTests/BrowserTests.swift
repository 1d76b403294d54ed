import Foundation
import JSON
import Testing

extension EndToEndTests {
    @Test("in a browser a person talks to the agent, sees a skill run, and finds it all again after a reload")
    func browser() async throws {
        guard Self.hasProgram("chromedriver"), Self.hasProgram("chromium") else {
            print("NOT CHECKED: the web chat in a browser; install chromium and chromium-driver")
            return
        }
        let world = try World()
        let penstock = try await world.start()
        let picture = Self.root.appending(path: ".build/web-chat.png").path
        let script = Self.root.appending(path: "Tests/Interop/browser.py").path
        let address = "http://127.0.0.1:\(penstock.port)/"

        let output = try await blocking { try Self.run(["python3", script, address, picture]) }
        #expect(try await penstock.stop() == 0)

        let seen = try JSONValue(json: output)
        let answers = [
            "I will remember that tea is <img src=x onerror='window.hacked=1'>.",
            "tea is <img src=x onerror='window.hacked=1'>.", "42", "1. [ ] Water the plants",
        ]
        #expect(seen["connected"]?.boolValue == true)
        let texts = { (name: String) in seen[name]?.arrayValue?.compactMap(\.stringValue) ?? [] }
        // How a list is shown is the page's affair.
        let plain = { (text: String) in text.filter { $0.isLetter || $0.isNumber } }
        for name in ["answers", "after reload"] {
            #expect(texts(name).count == 4)
            for (shown, said) in zip(texts(name), answers) {
                #expect(plain(said).hasSuffix(plain(shown)) && !plain(shown).isEmpty, "\(name): \(shown)")
            }
        }
        #expect(texts("chips").contains { $0.contains("calculator") }, "\(texts("chips"))")
        #expect(seen["hacked"]?.boolValue == false)
        #expect(texts("errors").isEmpty, "\(texts("errors"))")
    }

    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func hasProgram(_ name: String) -> Bool {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return path.split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 }
    }

    private static func run(_ command: [String]) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        let output = Foundation.Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw HarnessError("\(command.joined(separator: " ")): status \(process.terminationStatus)")
        }
        return Array(data)
    }
}
