import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// Every attack succeeds without a sandbox, else it proves nothing, and fails inside, whoever built the
/// walls.
@Suite("Attacks")
struct AttackTests {
    static let attacks = Attack.reach + Attack.escape + Attack.exhaust

    /// A socket is what the door is for; `NetworkPolicyTests` says what can be done with one.
    static let besideTheDoor = (Attack.reach + Attack.escape).filter { $0.name != "open an internet socket" }

    @Test(
        "without a sandbox it succeeds",
        .enabled(if: geteuid() == 0, "NOT CHECKED: only root can do without a sandbox what these attempt"),
        arguments: attacks.filter { !$0.onlyInside }
    )
    func succeedsOutside(attack: Attack) async throws {
        let bait = try Bait()

        let said = try Outside.run(attack.command, environment: bait.environment, in: bait.folder)

        #expect(said.contains("BREACH"), "\(said)")
    }

    @Test("inside with a door to the network it fails", arguments: besideTheDoor)
    func failsBesideTheDoor(attack: Attack) async throws {
        let bait = try Bait()
        let builder = Builder.here[0]
        var run = SandboxRun(command: attack.command, environment: bait.environment)
        run.limits.wallClock = .seconds(20)
        run.network = .hosts(SandboxHosts(allowed: [], label: "attack"))

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(!outcome.text.contains("BREACH"), "\(outcome.ending) \(outcome.text)")
        #expect(outcome.ending != .limit(.wallClock), "\(outcome.text)")
    }

    @Test(
        "inside a Python that waited it fails",
        arguments: attacks.filter { $0.language == .python },
        Builder.warm
    )
    func failsInsideWarm(attack: Attack, builder: Builder) async throws {
        try await failsInside(attack: attack, builder: builder)
    }

    @Test("inside it fails", arguments: attacks, Builder.here)
    func failsInside(attack: Attack, builder: Builder) async throws {
        let bait = try Bait()
        var run = SandboxRun(command: attack.command, environment: bait.environment)
        run.limits.wallClock = .seconds(20)

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(!outcome.text.contains("BREACH"), "\(outcome.ending) \(outcome.text)")
        #expect(
            outcome.ending != .limit(.wallClock),
            "the attack itself must come to an end: \(outcome.text)"
        )
    }
}

/// Runs a command with no sandbox, as an attacker would like to be run.
enum Outside {
    static func run(_ command: [String], environment: [String: String], in folder: String) throws -> String {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        posix_spawn_file_actions_addclose(&actions, ends[0])
        defer { posix_spawn_file_actions_destroy(&actions) }
        let path = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"]
        let arguments = (["/usr/bin/env", "-C", folder] + command).map { strdup($0) } + [nil]
        let variables = environment.merging(path) { $1 }.map { strdup("\($0)=\($1)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let error = posix_spawn(&child, "/usr/bin/env", &actions, nil, arguments, variables)
        close(ends[1])
        defer { close(ends[0]) }
        guard error == 0 else { throw POSIXError(.ENOENT) }
        var said: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(ends[0], &piece, piece.count)
            if count <= 0 { break }
            said += piece[..<count]
        }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return String(decoding: said, as: UTF8.self)
    }
}
