#if FAULT_POINTS
    import Foundation
    import Testing

    /// What only tests need is not in a program that is shipped.
    @Suite("Chaos: nothing of it in a release")
    struct ReleaseTests {
        private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        private static let markers = [
            "PENSTOCK_FAULT", "PENSTOCK_BREAK", "PENSTOCK_STORE_FAULTS", "seal.before", "no-put-id",
        ]

        @Test("the condition is set for debug builds alone, and the variables are read under it alone")
        func condition() throws {
            let package = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
            let defines = package.split(separator: "\n").filter { $0.contains("FAULT_POINTS\"") }

            #expect(defines.count == 1)
            #expect(defines.allSatisfy { $0.contains(".when(configuration: .debug)") })
            let sources = Self.root.appending(path: "Sources").path
            let files = FileManager.default.enumerator(atPath: sources)?.allObjects as? [String] ?? []
            var places = 0
            for file in files where file.hasSuffix(".swift") {
                let text = try String(contentsOfFile: "\(sources)/\(file)", encoding: .utf8)
                for line in Self.unconditional(text) {
                    #expect(!Self.markers.contains(where: line.contains), "\(file): \(line)")
                }
                places += text.contains("#if FAULT_POINTS") ? 1 : 0
            }
            #expect(places >= 3)
        }

        /// The lines of code that a build without the condition sees.
        private static func unconditional(_ text: String) -> [Substring] {
            var isOut = false
            var depth = 0
            return text.split(separator: "\n").filter { line in
                let code = line.drop { $0 == " " }
                if code.hasPrefix("#if ") {
                    depth += 1
                    if code == "#if FAULT_POINTS", depth == 1 { isOut = true }
                }
                if code.hasPrefix("#else"), depth == 1 { isOut = false }
                if code.hasPrefix("#endif") {
                    depth -= 1
                    if depth == 0 { isOut = false }
                }
                // The points' names are arguments that a release build never evaluates.
                return !isOut && !code.hasPrefix("//") && !code.hasPrefix("package static var ")
            }
        }

        @Test("a release build, where there is one, holds none of the names; a debug build does")
        func binary() throws {
            let build = Self.root.appending(path: ".build")
            let debug = try Data(contentsOf: URL(fileURLWithPath: ChaosProcess.executable))
            for marker in Self.markers { #expect(debug.range(of: Data(marker.utf8)) != nil, "\(marker)") }
            let release = build.appending(path: "release/penstock")
            guard let program = try? Data(contentsOf: release) else {
                print("NOT CHECKED: names of fault points in the release program: none is built here")
                return
            }
            for marker in Self.markers { #expect(program.range(of: Data(marker.utf8)) == nil, "\(marker)") }
        }
    }
#endif
