import Adapters
import Glibc
import JSON
import Pipeline
import Topics

/// `penstock bench wakeup` and `snapshot`: what a turn costs the store at 10, 100, 1,000 and 10,000 turns.
enum StoreBenchmarks {
    static let commands = [wakeup, snapshot]

    private static let options: [Command.Option] = [
        .value("store", "NAME", "folder, s3 as the settings name it, or memory; folder by default"),
        .value("turns", "NUMBER", "the longest, 100 to 10000; 10000 by default"),
        .value("message-bytes", "BYTES", "of each question and each answer; 4096 by default"),
        .value("runs", "NUMBER", "measured at each length; 33 by default"),
    ]

    private static let wakeup = Command(
        name: "wakeup",
        summary: "finding a conversation that no worker has at hand, at 10 turns and at 10,000",
        discussion: "The value is the median at the greatest length, the floor that at 10 turns.",
        options: options,
        run: { try await measure($0, .wakeup) }
    )

    private static let snapshot = Command(
        name: "snapshot",
        summary: "a turn's writes and the time of the turn, at 10 turns and at 10,000",
        discussion: """
            The value is the median at the greatest length, the floor that at 10 turns. A turn is the offline
            model's; with messages of 4 KiB the window of 64 KiB is full at 10 turns, with shorter ones the
            first turns cost less.
            """,
        options: options,
        run: { try await measure($0, .snapshot) }
    )

    private enum Kind: String {
        case wakeup, snapshot
    }

    /// The median time and the mean of the rest, at one length.
    private struct Measured {
        let turns: Int
        let milliseconds: Double
        let requests: Double
        let bytes: Double
    }

    private static func measure(_ invocation: Invocation, _ kind: Kind) async throws -> Int32 {
        let store = invocation.value("store") ?? "folder"
        guard ["memory", "folder", "s3"].contains(store) else {
            throw UsageError("--store \(store): expected folder, s3 or memory")
        }
        let longest = try invocation.integer("turns", in: 100...10_000, default: 10_000)
        let size = try invocation.integer("message-bytes", in: 8...65_536, default: 4_096)
        let runs = try invocation.integer("runs", in: 3...300, default: 33)
        var settings = try SettingsFile.load(invocation)
        settings.log = .embedded
        let world = try await BenchWorld(settings, store: store)
        let samples: [Sample]
        do {
            samples = try await measure(world, longest: longest, size: size, runs: runs, kind)
        } catch {
            await world.close()
            throw error
        }
        await world.close()
        report(kind, samples.map(\.measured), runs: runs, size: size, invocation)
        return 0
    }

    /// One conversation of each length, measured in turn, so that what else the machine does falls on all.
    private static func measure(
        _ world: BenchWorld,
        longest: Int,
        size: Int,
        runs: Int,
        _ kind: Kind
    ) async throws -> [Sample] {
        let counting = CountingStore(world.store)
        var samples: [Sample] = []
        for length in [10, 100, 1_000, 10_000] where length <= longest {
            let conversation = BenchConversation(world, counting, messageBytes: size)
            try await conversation.grow(to: length)
            samples.append(Sample(conversation: conversation, turns: length))
        }
        for _ in 0..<runs {
            for index in samples.indices {
                let conversation = samples[index].conversation
                _ = counting.take()
                switch kind {
                case .snapshot:
                    samples[index].add(try await conversation.turn(), counting.take())
                case .wakeup:
                    samples[index].add(try await conversation.wake(), counting.take())
                    // Another turn, so that the whole of a sealing's cycle is seen.
                    _ = try await conversation.turn()
                }
            }
        }
        for sample in samples { try await sample.conversation.remove() }
        return samples
    }

    private struct Sample {
        let conversation: BenchConversation
        let turns: Int
        var times: [Duration] = []
        var counts = CountingStore.Counts()

        init(conversation: BenchConversation, turns: Int) {
            self.conversation = conversation
            self.turns = turns
        }

        mutating func add(_ time: Duration, _ more: CountingStore.Counts) {
            times.append(time)
            counts += more
        }

        var measured: Measured {
            let sorted = times.sorted()
            return Measured(
                turns: turns,
                milliseconds: sorted[sorted.count / 2].inSeconds * 1_000,
                requests: Double(counts.requests) / Double(times.count),
                bytes: Double(counts.bytes) / Double(times.count)
            )
        }
    }

    private static func report(
        _ kind: Kind,
        _ measured: [Measured],
        runs: Int,
        size: Int,
        _ invocation: Invocation
    ) {
        guard let first = measured.first, let last = measured.last else { return }
        guard invocation.isJSON else {
            Terminal.table(
                [["TURNS", "MEDIAN MS", "REQUESTS", "BYTES"]]
                    + measured.map {
                        ["\($0.turns)", rounded($0.milliseconds), rounded($0.requests), "\(Int($0.bytes))"]
                    }
            )
            return Terminal.line(
                "\(kind.rawValue): at \(last.turns) turns "
                    + "\(rounded(last.milliseconds / first.milliseconds)) times the time at \(first.turns), "
                    + "\(rounded(last.requests / first.requests)) times the requests, "
                    + "\(rounded(last.bytes / first.bytes)) times the bytes; messages of "
                    + "\(size) bytes, \(runs) runs at each"
            )
        }
        Terminal.json([
            "name": .string(kind.rawValue), "value": .number(last.milliseconds),
            "floor": .number(first.milliseconds), "ratio": .number(last.milliseconds / first.milliseconds),
            "unit": "ms", "runs": .integer(Int64(runs)), "message_bytes": .integer(Int64(size)),
            "requests_ratio": .number(last.requests / first.requests),
            "bytes_ratio": .number(last.bytes / first.bytes),
            "lengths": .array(
                measured.map {
                    [
                        "turns": .integer(Int64($0.turns)), "ms": .number($0.milliseconds),
                        "requests": .number($0.requests), "bytes": .number($0.bytes),
                    ]
                }
            ),
        ])
    }

    private static func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
}
