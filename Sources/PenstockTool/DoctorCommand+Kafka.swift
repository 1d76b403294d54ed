import KafkaLog
import Pipeline
import Topics

extension DoctorCommand {
    /// The library, and with `log: kafka` the brokers and the topics. Changes nothing.
    static func kafka(_ settings: Settings?) async -> [Finding] {
        let library = Finding(
            id: "librdkafka",
            isGood: true,
            isNeeded: false,
            seen: KafkaLog.libraryVersion,
            meaning: ""
        )
        guard let settings, case .kafka(let kafka) = settings.log else { return [library] }
        return [library] + (await brokers(kafka, settings))
    }

    private static func brokers(_ kafka: Settings.Kafka, _ settings: Settings) async -> [Finding] {
        let topics = Catalog.topics.map { $0.prefixed(settings.topicPrefix) }
        do throws(EventLogError) {
            let log = try KafkaLog(KafkaSettings(kafka, instance: "doctor"), chance: .system)
            let differences: [TopicDifference]
            do throws(EventLogError) {
                differences = try await log.differences(topics)
            } catch {
                await log.close()
                throw error
            }
            await log.close()
            let reached = Finding(
                id: "kafka",
                isGood: true,
                seen: "\(kafka.bootstrap) answers",
                meaning: ""
            )
            return [reached, self.topics(topics.count, differences)]
        } catch {
            return [
                Finding(
                    id: "kafka",
                    isGood: false,
                    seen: error.detail,
                    meaning: "no event is taken and none is answered",
                    cure: cure(error.kind)
                )
            ]
        }
    }

    private static func topics(_ count: Int, _ differences: [TopicDifference]) -> Finding {
        let missing = differences.filter { $0.setting == "topic" }.map(\.topic)
        let seen = differences.prefix(8).map { "\($0.topic): \($0.setting) is \($0.found), not \($0.wanted)" }
        let isMismatch = differences.contains { $0.setting == "partitions" }
        return Finding(
            id: "kafka-topics",
            isGood: differences.isEmpty,
            isNeeded: isMismatch,
            seen: differences.isEmpty ? "\(count) as wanted" : seen.joined(separator: "; "),
            meaning: isMismatch
                ? "nothing starts on topics with other partitions: keys would move"
                : "what is missing is created at the next start; other settings stay as they are",
            cure: missing.isEmpty
                ? "alter the topics with Kafka's own tool, or set another log: kafka: prefix:"
                : "penstock topics apply"
        )
    }

    private static func cure(_ kind: EventLogError.Kind) -> String {
        switch kind {
        case .denied:
            "check user, password and rights; librdkafka's names stand below log: kafka: properties:"
        case .invalid: "mend the property named"
        default: "check log: kafka: bootstrap:, the brokers and the network"
        }
    }
}
