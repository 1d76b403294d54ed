package import Topics

package enum DeliveryOutcome: Sendable, Hashable {
    case sent(platformID: String)
    case failed(code: String, reason: String)
    /// It may have arrived, the platform cannot say, and it is not sent again.
    case unsure(reason: String)
}

/// The way of one piece of a reply to its platform, as a value: what to do next, given what was answered.
package struct DeliveryAttempt: Sendable {
    package enum Step: Sendable, Hashable {
        case lookUp
        case send
        case reconcile
        /// Nil: as long as the number of sends suggests.
        case wait(Duration?, reason: String)
        case over(DeliveryOutcome)
    }

    package let delivery: Delivery
    /// Somebody may have sent it before us.
    package let mayBeSent: Bool
    private let startedAt: Timestamp
    private var isUnsure = false
    /// Tries that counted.
    package private(set) var sends = 0

    package init(_ delivery: Delivery, mayBeSent: Bool, startedAt: Timestamp) {
        self.delivery = delivery
        self.mayBeSent = mayBeSent
        self.startedAt = startedAt
    }

    package mutating func found(_ entry: DeliveryLedger.Entry?) -> Step {
        switch entry {
        case nil: return .send
        case .sent(let platformID): return .over(.sent(platformID: platformID))
        case .started: return .reconcile
        }
    }

    package mutating func answered(
        _ result: DeliveryResult,
        _ settings: DeliverStage.Settings,
        now: Timestamp
    ) -> Step {
        if case .retry(_, throttled: true, _) = result {} else { sends += 1 }
        return decide(result, settings, now: now)
    }

    package mutating func reconciled(
        _ result: DeliveryResult,
        _ settings: DeliverStage.Settings,
        now: Timestamp
    ) -> Step {
        switch result {
        case .absent:
            isUnsure = false
            return sends < settings.attemptsMax
                ? .send : .over(.failed(code: "attempts_spent", reason: "never arrived"))
        case .ambiguous(let reason):
            guard settings.resendsWhenUnsure, sends < settings.attemptsMax else {
                return .over(.unsure(reason: reason))
            }
            isUnsure = false
            return .send
        case .retry:
            isUnsure = true
            return decide(result, settings, now: now)
        case .confirmed, .failed: return decide(result, settings, now: now)
        }
    }

    package mutating func waited() -> Step {
        isUnsure ? .reconcile : .send
    }

    private mutating func decide(_ result: DeliveryResult, _ settings: DeliverStage.Settings, now: Timestamp)
        -> Step
    {
        switch result {
        case .confirmed(let platformID): return .over(.sent(platformID: platformID))
        case .failed(let code, let reason): return .over(.failed(code: code, reason: reason))
        case .ambiguous(let reason):
            isUnsure = true
            return .wait(.seconds(1), reason: reason)
        case .absent: return .send
        case .retry(let after, _, let reason):
            guard sends < settings.attemptsMax, now - startedAt < settings.patience else {
                return .over(
                    isUnsure ? .unsure(reason: reason) : .failed(code: "attempts_spent", reason: reason)
                )
            }
            return .wait(after, reason: reason)
        }
    }
}
