import Pipeline
import Testing
import Topics

@Suite("Dispatch")
struct DispatchTests {
    private static let place = TopicPartition("t", 0)

    private static func record(_ offset: Int64, _ key: String) -> LogRecord {
        LogRecord(
            position: RecordPosition(place, offset),
            time: Timestamp(milliseconds: 0),
            key: Array(key.utf8),
            headers: [],
            value: [1, 2, 3]
        )
    }

    private static func assignment(low: Int64 = 0) -> Assignment {
        Assignment(partition: place, progress: Progress(low: low), freshFrom: low)
    }

    private static func dispatch(inFlight: Int = 10, bytes: Int = 1 << 20) -> (Dispatch, Assignment) {
        var dispatch = Dispatch(limits: .init(inFlightMax: inFlight, queuedBytesMax: bytes))
        let assignment = assignment()
        dispatch.assigned([assignment])
        return (dispatch, assignment)
    }

    private func startAll(_ dispatch: inout Dispatch) -> [Dispatch.Work] {
        var all: [Dispatch.Work] = []
        while let work = dispatch.start() { all.append(work) }
        return all
    }

    @Test("one record of a key at a time, in order, until it is committed; many keys at once")
    func order() throws {
        var (dispatch, assignment) = Self.dispatch()
        dispatch.arrived(
            [Self.record(0, "a"), Self.record(1, "a"), Self.record(2, "b")],
            under: assignment
        )
        let first = startAll(&dispatch)
        #expect(first.map(\.record.offset) == [0, 2])

        dispatch.handled(first[0], outputs: [])
        #expect(dispatch.start() == nil, "handled is not yet committed")
        let finished = dispatch.takeFinished()
        dispatch.committed(finished)

        #expect(dispatch.start()?.record.offset == 1)
    }

    @Test("no more at a time than the limit, and no offset beyond the window")
    func limits() {
        var (dispatch, assignment) = Self.dispatch(inFlight: 2)
        dispatch.arrived((0..<5).map { Self.record($0, "k\($0)") }, under: assignment)
        #expect(startAll(&dispatch).count == 2)

        var (wide, other) = Self.dispatch(inFlight: 100)
        wide.arrived([Self.record(0, "a"), Self.record(Progress.window, "b")], under: other)
        let started = startAll(&wide)
        #expect(started.map(\.record.offset) == [0])
        #expect(wide.flowChanges().pause.count == 1)
        wide.handled(started[0], outputs: [])
        wide.committed(wide.takeFinished())
        var progress = other.progress
        progress.finish(0)
        progress.settle()
        other.advance(to: progress)
        #expect(wide.start()?.record.offset == Progress.window)
    }

    @Test("delivery pauses above the byte limit and goes on at half of it")
    func flow() {
        var (dispatch, assignment) = Self.dispatch(bytes: 1_000)
        dispatch.arrived((0..<8).map { Self.record($0, "k\($0)") }, under: assignment)
        #expect(dispatch.flowChanges().pause.count == 1)
        #expect(dispatch.flowChanges().pause.isEmpty, "paused once")
        let works = startAll(&dispatch)
        for work in works.prefix(3) { dispatch.handled(work, outputs: []) }
        #expect(dispatch.flowChanges().resume.isEmpty)
        for work in works.dropFirst(3) { dispatch.handled(work, outputs: []) }
        #expect(dispatch.flowChanges().resume.count == 1)
        #expect(dispatch.queuedBytes == 0)
    }

    @Test("what came before, is done already, or belongs to an ended assignment is passed over")
    func stale() {
        var (dispatch, assignment) = Self.dispatch()
        var progress = Progress(low: 0)
        progress.finish(1)
        assignment.advance(to: progress)
        dispatch.arrived([Self.record(0, "a"), Self.record(1, "b"), Self.record(0, "a")], under: assignment)
        let works = startAll(&dispatch)
        #expect(works.map(\.record.offset) == [0])

        let second = Self.assignment()
        dispatch.ended([assignment])
        dispatch.assigned([second])
        dispatch.arrived([Self.record(5, "c")], under: assignment)
        dispatch.handled(works[0], outputs: [])

        #expect(dispatch.takeFinished().isEmpty)
        #expect(dispatch.start() == nil)
    }

    @Test("outputs that can never be stored are replaced once, then left out; the key goes on")
    func replaced() throws {
        var (dispatch, assignment) = Self.dispatch()
        dispatch.arrived([Self.record(0, "a"), Self.record(1, "a")], under: assignment)
        let output = NewRecord(topic: "o", key: "a", value: [1])
        let works = startAll(&dispatch)
        let work = try #require(works.first)
        dispatch.handled(work, outputs: [output])
        var taken = dispatch.takeFinished()
        let first = try #require(taken.first)
        let letter = NewRecord(topic: "deadletters", key: "a", value: [2])

        dispatch.replace(first) { record in
            #expect(record == work.record)
            return [letter]
        }
        taken = dispatch.takeFinished()
        let second = try #require(taken.first)
        #expect(second.outputs == [letter] && second.offset == 0)
        dispatch.replace(second) { _ in [letter] }
        taken = dispatch.takeFinished()
        let third = try #require(taken.first)
        #expect(third.outputs.isEmpty && third.offset == 0)
        #expect(dispatch.start() == nil)
        dispatch.committed([third])

        #expect(dispatch.start()?.record.offset == 1)
    }
}
