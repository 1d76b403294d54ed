import Pipeline

/// A partition that a member holds, and what the member knows of its offsets.
struct Holding {
    let assignment: Assignment
    /// The next offset to hand over; lower ones are dropped.
    private(set) var expected: Int64
    /// Offsets that no record will ever come for: transaction markers, aborted records, what compaction took.
    /// Rising; all at or above the progress.
    private var gaps: [Range<Int64>] = []
    var isPaused = false
    var isRevoked = false

    init(_ assignment: Assignment) {
        self.assignment = assignment
        expected = assignment.progress.low
    }

    /// A record came; false when it is to be dropped, because it was handed over before.
    mutating func take(_ offset: Int64) -> Bool {
        guard offset >= expected else { return false }
        pass(to: offset)
        expected = offset + 1
        return true
    }

    /// The partition's next record, whenever it comes, is at the offset or above.
    mutating func pass(to offset: Int64) {
        guard offset > expected else { return }
        gaps.append(expected..<offset)
        expected = offset
        assignment.advance(to: settled(assignment.progress))
        forget()
    }

    /// The progress once these offsets are done too. Changes nothing.
    func progress(finishing offsets: [Int64]) -> Progress {
        var progress = assignment.progress
        for offset in offsets { progress.finish(offset) }
        return settled(progress)
    }

    /// These offsets are done, and committed.
    mutating func finish(_ offsets: [Int64]) {
        assignment.advance(to: progress(finishing: offsets))
        forget()
    }

    private func settled(_ progress: Progress) -> Progress {
        var progress = progress
        progress.settle()
        for gap in gaps where gap.lowerBound <= progress.low && gap.upperBound > progress.low {
            progress.skip(to: gap.upperBound)
            progress.settle()
        }
        return progress
    }

    private mutating func forget() {
        let low = assignment.progress.low
        gaps.removeAll { $0.upperBound <= low }
    }
}
