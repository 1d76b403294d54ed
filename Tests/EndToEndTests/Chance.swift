import Foundation
import PipelineTesting

typealias Chance = SplitMix

extension Chance {
    /// `SEED=…`, else another each time.
    static var seed: UInt64 {
        ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 1...999_999_999)
    }
}
