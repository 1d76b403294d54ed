import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// The program and its machine, which something surrounds.
private enum Surroundings {
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock").path

    /// What it says, and then its status in a line.
    static func run(_ wrapper: [String], _ arguments: [String], in folder: String = "/") throws -> String {
        let script = "\"$@\"; echo \"status $?\""
        let command = ["bash", "-c", script, "bash"] + wrapper + [program] + arguments
        return try Outside.run(command, environment: [:], in: folder)
    }
}

@Suite(
    "In other surroundings",
    .enabled(if: geteuid() == 0, "NOT CHECKED: only root can make these surroundings")
)
struct SurroundingsTests {
    private func run(_ wrapper: [String]) throws -> String {
        try Surroundings.run(wrapper, ["sandbox", "run", "--", "id", "-u"])
    }

    @Test("root of a user namespace that maps one user builds as an ordinary user")
    func buildsInUserNamespace() throws {
        #expect(try run(["unshare", "--user", "--map-root-user"]) == "1000\nstatus 0\n")
    }

    @Test("root without its capabilities is refused with the layer's name, not run as root")
    func refusesWeakRoot() throws {
        let said = try run(["setpriv", "--bounding-set", "-sys_admin"])

        #expect(said.contains("identity"), "\(said)")
    }

    @Test("a kernel that allows no user namespace is an error that says how to allow them")
    func namesMissingNamespaces() throws {
        let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\""

        let said = try run(["unshare", "--user", "--map-root-user", "bash", "-c", script, "bash"])

        #expect(said.contains("namespaces") && said.contains("max_user_namespaces"), "\(said)")
    }
}

/// A kernel without a layer, or an outer container that refuses its calls: `without.py`.
struct MissingLayer: Sendable, CustomTestStringConvertible {
    /// As `without.py` has it.
    let name: String
    /// As errors name it.
    let layer: String
    /// As `penstock doctor` lists it.
    let finding: String
    let cure: String
    var mayBeMissing = false

    var testDescription: String { name }

    static let all = [
        MissingLayer(
            name: "landlock",
            layer: "landlock",
            finding: "sandbox.landlock",
            cure: "lsm=landlock",
            mayBeMissing: true
        ),
        MissingLayer(
            name: "time-namespace",
            layer: "time-namespace",
            finding: "sandbox.namespace-time",
            cure: "CONFIG_TIME_NS",
            mayBeMissing: true
        ),
        MissingLayer(name: "seccomp", layer: "seccomp", finding: "sandbox.seccomp", cure: "SECCOMP_FILTER"),
        MissingLayer(
            name: "user-namespaces",
            layer: "namespaces",
            finding: "sandbox.namespace-user",
            cure: "max_user_namespaces"
        ),
        MissingLayer(
            name: "mount-calls",
            layer: "root-filesystem",
            finding: "sandbox.mount-calls",
            cure: "Linux 5.12"
        ),
    ]

    /// Who builds: root and an ordinary user, or the latter alone.
    static let builders: [[String]] = geteuid() == 0 ? [[], ["unshare", "--user", "--map-root-user"]] : [[]]
}

@Suite("Where a layer is missing")
final class MissingLayerTests {
    /// Settings that allow it, in a folder of the test's own.
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "penstock-layers-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let settings = "data: \(folder.path)/data\nsandbox: { missing_layers: allow }\n"
        try settings.write(to: folder.appending(path: "allow.yaml"), atomically: false, encoding: .utf8)
    }

    deinit {
        // What stays behind is in the folder for temporary files.
        try? FileManager.default.removeItem(at: folder)
    }

    private func without(_ missing: MissingLayer, as builder: [String]) -> [String] {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        return builder + ["/usr/bin/python3", here.appending(path: "without.py").path, missing.name]
    }

    @Test(
        "a run is refused with its name and a cure, unless the settings allow it to be missing",
        arguments: MissingLayer.all,
        MissingLayer.builders
    )
    func refuses(_ missing: MissingLayer, builder: [String]) throws {
        let wrapper = without(missing, as: builder)
        let command = ["sandbox", "run", "--", "id", "-u"]
        let allowing = ["sandbox", "run", "--config", "allow.yaml", "--", "id", "-u"]

        let strict = try Surroundings.run(wrapper, command, in: folder.path)
        let lenient = try Surroundings.run(wrapper, allowing, in: folder.path)

        #expect(strict.hasPrefix("penstock: sandbox: \(missing.layer): ") && strict.hasSuffix("status 125\n"))
        #expect(strict.contains(missing.cure))
        #expect(lenient == (missing.mayBeMissing ? "1000\nstatus 0\n" : strict))
        #expect(try Surroundings.run(builder, command, in: folder.path) == "1000\nstatus 0\n")
    }

    @Test("doctor names it", arguments: MissingLayer.all)
    func diagnoses(_ missing: MissingLayer) throws {
        let wrapper = without(missing, as: [])
        let said = try Surroundings.run(wrapper, ["doctor", "--offline", "--json"], in: folder.path)
        let lines = said.split(separator: "\n").filter { $0.contains("\"state\":\"missing\"") }

        #expect(said.hasSuffix("status 1\n"))
        #expect(
            lines.contains { $0.contains("\"\(missing.finding)\"") && $0.contains(missing.cure) },
            "\(said)"
        )
        #expect(lines.contains { $0.contains("\"sandbox.run\"") && $0.contains(missing.layer) }, "\(said)")
    }

    @Test(
        "a worker says it when it starts, and what comes of it",
        arguments: MissingLayer.all.filter(\.mayBeMissing)
    )
    func startUpLine(_ missing: MissingLayer) throws {
        // Stops once it has said that it runs and what it found, or after a minute.
        let script = """
            coproc "$@" 2>log
            while read -r -t 60 line <&"${COPROC[0]}"; do [[ $line == *running* ]] && break; done
            for ((i = 0; i < 600; i++)); do grep -q 'The sandbox ' log && break; sleep 0.1; done
            sleep 0.2; kill $COPROC_PID; wait $COPROC_PID; cat log
            """
        func start(_ arguments: [String], _ wrapper: [String]) throws -> String {
            let command = wrapper + [Surroundings.program, "run", "--port", "0"] + arguments
            return try Outside.run(
                ["bash", "-c", script, "bash"] + command,
                environment: [:],
                in: folder.path
            )
        }
        let wrapper = without(missing, as: [])

        let strict = try start([], wrapper)
        let lenient = try start(["--config", "allow.yaml"], wrapper)
        let whole = try start([], [])

        #expect(strict.contains("The sandbox lacks a layer: skills do not run"), "\(strict)")
        #expect(strict.contains(missing.finding) && strict.contains(missing.cure))
        let told = lenient.split(separator: "\n").first { $0.contains(missing.finding) }
        #expect(told?.contains("The sandbox lacks a layer: skills run without it") == true, "\(lenient)")
        // Control groups may well be missing.
        #expect(whole.contains("The sandbox ") && !whole.contains(missing.finding), "\(whole)")
    }
}
