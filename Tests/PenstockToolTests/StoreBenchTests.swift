import Foundation
import JSON
import Testing

@Suite("penstock bench wakeup, snapshot")
struct StoreBenchTests {
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock")

    @Test(
        "both print one object with what every benchmark has, flat in requests and bytes",
        arguments: ["wakeup", "snapshot"]
    )
    func printsOneObject(name: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "penstock-bench-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let process = Process()
        let output = Pipe()
        process.executableURL = Self.program
        process.arguments = ["bench", name, "--json", "--turns", "100", "--runs", "12", "--store", "folder"]
        process.currentDirectoryURL = folder
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()

        let value = try JSONValue(json: Array(data.dropLast()))

        #expect(process.terminationStatus == 0)
        #expect(value["name"] == .string(name) && value["unit"] == "ms" && value["runs"] == .integer(12))
        for key in ["value", "floor", "ratio"] { #expect((Self.number(value[key]) ?? 0) > 0, "\(key)") }
        #expect(Self.number(value["requests_ratio"]) == 1)
        #expect((Self.number(value["bytes_ratio"]) ?? 9) <= 1.1)
        #expect(value["lengths"]?.arrayValue?.count == 2)
        // Nothing stays.
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/penstock-data")
        #expect(left.filter { $0.hasPrefix("bench-") } == [])
    }

    private static func number(_ value: JSONValue?) -> Double? {
        switch value {
        case .number(let number): number
        case .integer(let integer): Double(integer)
        default: nil
        }
    }
}
