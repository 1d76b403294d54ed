import JSON
import LinuxSandbox
import Pipeline

/// `penstock bench`: what things cost here, beside the least they could cost.
enum BenchCommand {
    static let bench = Command(
        name: "bench",
        summary: "measures this machine",
        discussion:
            "Each prints a value and its floor, measured in turn in one run: trust the ratio, not the times.",
        subcommands: [sandboxCold, sandboxWarm, sandboxRate] + PipelineBenchmarks.commands
            + StoreBenchmarks.commands
    )

    private static let sandboxCold = sandbox(
        "sandbox-cold",
        "a fresh sandbox for /bin/true, beside a bare vfork and exec of it"
    ) { runs throws(SandboxError) in
        try await SandboxBenchmark(runs: runs).cold(try LinuxSandbox())
    }

    private static let sandboxWarm = sandbox(
        "sandbox-warm",
        "a sandbox made ahead, to the first byte of /bin/echo and of Python, beside the same without one"
    ) { runs throws(SandboxError) in
        var settings = LinuxSandbox.Settings()
        settings.poolSize = 4
        var measured = try await SandboxBenchmark(runs: runs, command: ["/bin/echo", "warm"]).warm(settings)
        settings.poolSize = 0
        // Each waits for a Python to load; a quarter is enough for a median.
        let python = try await SandboxBenchmark(runs: max(10, runs / 4)).python(settings)
        measured.others["python"] = (python.value, python.floor)
        return measured
    }

    private static let sandboxRate = sandbox(
        "sandbox-rate",
        "fresh sandboxes for /bin/true in a second, 8 at a time, beside bare vforks and execs of it"
    ) { runs throws(SandboxError) in
        try await SandboxBenchmark(runs: runs * 10).rate(try LinuxSandbox(), atOnce: 8)
    }

    private static func sandbox(
        _ name: String,
        _ summary: String,
        _ measure: @escaping @Sendable (Int) async throws(SandboxError) -> SandboxBenchmark.Measurement
    ) -> Command {
        Command(
            name: name,
            summary: summary,
            options: [.value("runs", "NUMBER", "10 to 10000, 200 by default")],
            run: { invocation in
                let runs = try invocation.integer("runs", in: 10...10_000, default: 200)
                let spawner = LinuxSandbox.Settings().executable
                if !spawner.hasSuffix("/penstock-sandbox") {
                    Terminal.complain(
                        "penstock-sandbox is not beside this program: sandboxes are forked from \(spawner), "
                            + "which takes half as long again. Build both products: swift build -c release"
                    )
                }
                do throws(SandboxError) {
                    report(try await measure(runs), invocation)
                    return 0
                } catch {
                    throw Failure("sandbox: \(error.detail)")
                }
            }
        )
    }

    private static func report(_ measured: SandboxBenchmark.Measurement, _ invocation: Invocation) {
        guard invocation.isJSON else {
            let wrapped = measured.bubblewrap.map { ", bubblewrap \(Int($0)) µs" } ?? ""
            Terminal.line(
                "\(measured.name): \(words(measured.value, measured.floor, measured.unit))\(wrapped); "
                    + "of \(measured.runs) runs"
            )
            for (name, other) in measured.others.sorted(by: { $0.key < $1.key }) {
                Terminal.line("  \(name): \(words(other.value, other.floor, measured.unit))")
            }
            return
        }
        var members: [String: JSONValue] = [
            "name": .string(measured.name), "value": .number(measured.value),
            "floor": .number(measured.floor), "ratio": .number(measured.ratio),
            "unit": .string(measured.unit), "runs": .integer(Int64(measured.runs)),
        ]
        members["bubblewrap"] = measured.bubblewrap.map { .number($0) }
        for (name, other) in measured.others {
            members["\(name)_value"] = .number(other.value)
            members["\(name)_floor"] = .number(other.floor)
            members["\(name)_ratio"] = .number(other.value / other.floor)
        }
        Terminal.json(.object(members))
    }

    private static func words(_ value: Double, _ floor: Double, _ unit: String) -> String {
        let ratio = Double(Int(value / floor * 1000)) / 1000
        let unit = unit == "us" ? " µs" : " \(unit)"
        return "\(Int(value))\(unit), floor \(Int(floor))\(unit), ratio \(ratio)"
    }
}
