/// How the agent behaves; the defaults run.
package struct AgentSettings: Sendable, Hashable {
    package enum Answering: String, Sendable, CaseIterable {
        /// Every message that a person writes where the agent is.
        case all
        /// Direct messages, mentions and answers to the agent; the rest is noted.
        case addressed
    }

    package var name: String
    package var instructions: String
    package var answering: Answering
    /// Model calls in one turn.
    package var roundsMax: Int
    package var outputTokensMax: Int
    /// One try of a turn, model and skills together.
    package var turnDeadline: Duration
    package var attemptsMax: Int
    /// What the conversation gets when its event was given up; empty for nothing.
    package var apology: String
    package var transcript: TranscriptWindow
    package var skillLimits: SandboxLimits

    package init() {
        name = "Penstock"
        instructions =
            "You are a helpful agent in a chat. Answer briefly and plainly, in the language you are asked in."
        answering = .all
        roundsMax = 8
        outputTokensMax = 4_096
        turnDeadline = .seconds(120)
        attemptsMax = 5
        apology = "Sorry, I could not answer that. The people who run me have been told."
        transcript = .standard
        skillLimits = .standard
    }
}
