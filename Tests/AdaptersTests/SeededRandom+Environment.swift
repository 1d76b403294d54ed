import Foundation

extension SeededRandom {
    static func fromEnvironment() -> SeededRandom {
        let given = ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) }
        return SeededRandom(seed: given ?? UInt64.random(in: 0...UInt64.max))
    }
}
