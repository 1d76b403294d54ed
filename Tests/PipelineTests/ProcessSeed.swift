import Foundation
import PipelineTesting

/// The seed of a test by chance: `SEED=…` repeats a run.
enum ProcessSeed {
    static var value: UInt64 {
        ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init)
            ?? UInt64.random(in: 1...1_000_000_000)
    }

    static func generator(_ seed: UInt64) -> SplitMix { SplitMix(seed: seed) }
}
