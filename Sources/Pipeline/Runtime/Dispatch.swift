/// Which record may be handled next, as a value: one of each key at a time and in order, many keys at once,
/// within limits. It knows no task and no log.
///
/// A key is busy from the start of its record until that record's outputs are committed, so that what is
/// visible of a conversation is always in order.
package struct Dispatch: Sendable {
    package struct Limits: Sendable, Hashable {
        /// Records handled at a time.
        package var inFlightMax: Int
        /// Bytes of records waiting or in flight; delivery pauses above it and goes on at half of it.
        package var queuedBytesMax: Int

        package init(inFlightMax: Int, queuedBytesMax: Int) {
            self.inFlightMax = inFlightMax
            self.queuedBytesMax = queuedBytesMax
        }
    }

    package struct Work: Sendable {
        package let record: LogRecord
        package let assignment: Assignment
    }

    private struct Key: Hashable {
        let partition: TopicPartition
        let bytes: [UInt8]
    }

    private struct Lane {
        var waiting: [Work] = []
        var start = 0
        var isBusy = false
        var isEmpty: Bool { start == waiting.count }
    }

    private struct Partition {
        let assignment: Assignment
        /// Offsets in flight or finished and not yet committed.
        var open = 0
        var isPaused = false
        var isDraining = false
        var highest: Int64
    }

    private let limits: Limits
    private var partitions: [TopicPartition: Partition] = [:]
    private var lanes: [Key: Lane] = [:]
    private var ready: [Key] = []
    private var readyStart = 0
    private var finished: [Completion] = []
    private var workOfFinished: [RecordPosition: Work] = [:]
    /// Those whose outputs were replaced once.
    private var replaced: Set<RecordPosition> = []
    private(set) package var inFlight = 0
    private(set) package var queuedBytes = 0
    /// No record starts any more; what is in flight is finished and committed.
    package var isStopping = false

    package init(limits: Limits) {
        self.limits = limits
    }

    package var isIdle: Bool { inFlight == 0 && finished.isEmpty }

    package mutating func assigned(_ assignments: [Assignment]) {
        for assignment in assignments {
            partitions[assignment.partition] = Partition(
                assignment: assignment,
                highest: assignment.progress.low - 1
            )
        }
    }

    package mutating func arrived(_ records: [LogRecord], under assignment: Assignment) {
        guard let partition = partitions[assignment.partition], !partition.isDraining,
            partition.assignment.isSame(as: assignment)
        else { return }
        for record in records where record.offset > (partitions[assignment.partition]?.highest ?? .max) {
            partitions[assignment.partition]?.highest = record.offset
            guard !assignment.isDone(record.offset) else { continue }
            queuedBytes += record.roughByteCount
            let key = Key(partition: assignment.partition, bytes: record.key)
            lanes[key, default: Lane()].waiting.append(Work(record: record, assignment: assignment))
            if lanes[key]?.isBusy == false, lanes[key].map({ $0.waiting.count - $0.start }) == 1 {
                ready.append(key)
            }
        }
    }

    /// The next record to handle, or nil when nothing may start now.
    package mutating func start() -> Work? {
        guard !isStopping, inFlight < limits.inFlightMax else { return nil }
        var tried = 0
        while readyStart < ready.count, tried < ready.count {
            let key = ready[readyStart]
            readyStart += 1
            tried += 1
            if readyStart > 4_096 {
                ready.removeFirst(readyStart)
                readyStart = 0
            }
            guard var lane = lanes[key], !lane.isBusy, !lane.isEmpty else { continue }
            let work = lane.waiting[lane.start]
            guard work.assignment.progress.accepts(work.record.offset) else {
                // Too far above what is committed; the key comes up again when that has moved.
                ready.append(key)
                continue
            }
            lane.start += 1
            if lane.start == lane.waiting.count || lane.start > 64 {
                lane.waiting.removeFirst(lane.start)
                lane.start = 0
            }
            lane.isBusy = true
            lanes[key] = lane
            partitions[key.partition]?.open += 1
            inFlight += 1
            return work
        }
        return nil
    }

    /// `outputs`: nil when the record was not handled.
    package mutating func handled(_ work: Work, outputs: [NewRecord]?) {
        inFlight -= 1
        queuedBytes -= work.record.roughByteCount
        let position = work.record.position
        guard isCurrent(work.assignment) else { return }
        guard let outputs else {
            // Stopped half-way: the key stays busy, so that nothing behind it overtakes.
            partitions[position.partition]?.open -= 1
            return
        }
        workOfFinished[position] = work
        finished.append(Completion(assignment: work.assignment, offset: work.record.offset, outputs: outputs))
    }

    /// Everything that is ready to be committed, in the order it finished.
    package mutating func takeFinished() -> [Completion] {
        defer { finished = [] }
        return finished
    }

    /// Gives back what could not be committed, to be taken again.
    package mutating func giveBack(_ completions: [Completion]) {
        finished = completions.filter { isCurrent($0.assignment) } + finished
    }

    /// The outputs can never be stored: others take their place, and none when those can not be stored
    /// either.
    package mutating func replace(_ completion: Completion, by outputs: (LogRecord) -> [NewRecord]) {
        let position = RecordPosition(completion.assignment.partition, completion.offset)
        guard isCurrent(completion.assignment), let work = workOfFinished[position] else { return }
        let others = replaced.insert(position).inserted ? outputs(work.record) : []
        giveBack([
            Completion(assignment: completion.assignment, offset: completion.offset, outputs: others)
        ])
    }

    /// These completions took effect: their keys may go on.
    package mutating func committed(_ completions: [Completion]) {
        for completion in completions {
            let position = RecordPosition(completion.assignment.partition, completion.offset)
            guard isCurrent(completion.assignment), let work = workOfFinished.removeValue(forKey: position)
            else {
                continue
            }
            replaced.remove(position)
            let key = Key(partition: position.partition, bytes: work.record.key)
            partitions[key.partition]?.open -= 1
            guard var lane = lanes[key] else { continue }
            lane.isBusy = false
            if lane.isEmpty {
                lanes[key] = nil
            } else {
                lanes[key] = lane
                ready.append(key)
            }
        }
    }

    /// No new record of these partitions starts; what is in flight may finish.
    package mutating func drain(_ assignments: [Assignment]) {
        for assignment in assignments where isCurrent(assignment) {
            partitions[assignment.partition]?.isDraining = true
            dropWaiting(of: assignment.partition)
        }
    }

    /// Whether a draining partition has nothing in flight and nothing to commit any more.
    package func isDrained(_ assignment: Assignment) -> Bool {
        guard isCurrent(assignment) else { return true }
        return partitions[assignment.partition]?.open == 0
    }

    package mutating func ended(_ assignments: [Assignment]) {
        for assignment in assignments where isCurrent(assignment) {
            dropWaiting(of: assignment.partition)
            for key in lanes.keys where key.partition == assignment.partition { lanes[key] = nil }
            finished.removeAll { $0.assignment.isSame(as: assignment) }
            workOfFinished = workOfFinished.filter { $0.key.partition != assignment.partition }
            replaced = replaced.filter { $0.partition != assignment.partition }
            partitions[assignment.partition] = nil
        }
    }

    /// Partitions whose delivery is to stop or to go on now.
    package mutating func flowChanges() -> (pause: [Assignment], resume: [Assignment]) {
        var pause: [Assignment] = []
        var resume: [Assignment] = []
        for (key, partition) in partitions where !partition.isDraining {
            let reach = partition.highest - partition.assignment.progress.low
            if !partition.isPaused, queuedBytes > limits.queuedBytesMax || reach >= Progress.window {
                partitions[key]?.isPaused = true
                pause.append(partition.assignment)
            } else if partition.isPaused, queuedBytes <= limits.queuedBytesMax / 2,
                reach < Progress.window / 2
            {
                partitions[key]?.isPaused = false
                resume.append(partition.assignment)
            }
        }
        return (pause, resume)
    }

    private func isCurrent(_ assignment: Assignment) -> Bool {
        assignment.isSame(as: partitions[assignment.partition]?.assignment)
    }

    private mutating func dropWaiting(of partition: TopicPartition) {
        for (key, lane) in lanes where key.partition == partition {
            for work in lane.waiting[lane.start...] { queuedBytes -= work.record.roughByteCount }
            lanes[key]?.waiting = []
            lanes[key]?.start = 0
        }
        // What is left of these keys in `ready` finds its lane empty and is passed over.
    }
}

extension LogRecord {
    var roughByteCount: Int { value.count + key.count + 256 }
}
