import Foundation
import Pipeline

/// A folder of skills for one test, removed with it.
final class SkillFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/penstock-skills-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        // What stays behind is in /tmp.
        try? FileManager.default.removeItem(atPath: path)
    }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8], mode: Int = 0o644) throws -> String {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Data(bytes).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
        return file.path
    }

    @discardableResult
    func write(_ name: String, _ text: String, mode: Int = 0o644) throws -> String {
        try write(name, Array(text.utf8), mode: mode)
    }

    func skill(_ folder: String, description: String = "What it is for.") throws {
        let name = folder.split(separator: "/").last.map(String.init) ?? folder
        try write("\(folder)/SKILL.md", "---\nname: \(name)\ndescription: \(description)\n---\nBody.\n")
    }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
    }

    func load() -> SkillCatalog { SkillLoader.load([path]) }
}
