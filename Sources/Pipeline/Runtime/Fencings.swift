package import Topics

/// Whether a member that was shut out under its own name has a rival of that name.
///
/// A member may be shut out without one: when brokers are lost, its session runs out and it joins anew, but
/// the answer is lost too; then the group knows a newer member of the name than the client does, and refuses
/// the client. So does a client that was given up in the midst of its join and still finishes it. Either is
/// over when the member joins again; a log that has just seen a broker go does not say that the member was
/// fenced. A rival joins again too, so each of the two is shut out over and over: whoever has had enough of
/// it first goes, and the other stays.
package struct Fencings: Sendable {
    static let most = 3
    static let within: Duration = .seconds(120)

    private var times: [Timestamp] = []

    package init() {}

    /// Takes note that the member is shut out now; true when it is a rival's doing.
    package mutating func add(at now: Timestamp) -> Bool {
        times.removeAll { $0 + Self.within <= now }
        times.append(now)
        return times.count >= Self.most
    }
}
