/// The names under which log lines carry their data.
package enum LogKeys {
    package static let attempt = "attempt"
    package static let channel = "channel"
    package static let code = "code"
    package static let error = "error"
    package static let event = "event"
    package static let partitions = "partitions"
    package static let path = "path"
    package static let peer = "peer"
    package static let position = "position"
    package static let reason = "reason"
    package static let reply = "reply"
    package static let status = "status"
}
