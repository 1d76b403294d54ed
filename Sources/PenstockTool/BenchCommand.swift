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
        subcommands: [sandboxCold, sandboxWarm] + PipelineBenchmarks.commands
    )

    private static let sandboxCold = sandbox(
        "sandbox-cold",
        "a fresh sandbox for /bin/true, beside a bare vfork and exec of it"
    ) { runs throws(SandboxError) in
        try await SandboxBenchmark(runs: runs).cold(try LinuxSandbox())
    }

    private static let sandboxWarm = sandbox(
        "sandbox-warm",
        "a sandbox made ahead, to the first byte of /bin/echo, beside the same without one"
    ) { runs throws(SandboxError) in
        var settings = LinuxSandbox.Settings()
        settings.poolSize = 4
        return try await SandboxBenchmark(runs: runs, command: ["/bin/echo", "warm"]).warm(settings)
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
            let ratio = Double(Int(measured.ratio * 100)) / 100
            return Terminal.line(
                "\(measured.name): \(Int(measured.value)) µs, floor \(Int(measured.floor)) µs, "
                    + "ratio \(ratio)\(wrapped); medians of \(measured.runs) runs"
            )
        }
        var members: [String: JSONValue] = [
            "name": .string(measured.name), "value": .number(measured.value),
            "floor": .number(measured.floor),
            "ratio": .number(measured.ratio), "unit": "us", "runs": .integer(Int64(measured.runs)),
        ]
        members["bubblewrap"] = measured.bubblewrap.map { .number($0) }
        Terminal.json(.object(members))
    }
}
