import Pipeline

/// Secrets of one kind, read anew on every use, so that a rotated one needs no restart.
///
/// Several are in force at once while one is being rotated. Throws when they cannot be read.
package typealias SecretSource = @Sendable () throws -> [String]

extension ReceiveError {
    /// The secrets, or why they cannot be had: one that is missing must never mean that anything passes.
    static func reading(_ name: String, _ source: SecretSource) throws(ReceiveError) -> [String] {
        do {
            let secrets = try source().filter { !$0.isEmpty }
            guard !secrets.isEmpty else { throw ReceiveError(.unavailable, "\(name) is not set") }
            return secrets
        } catch let error as ReceiveError {
            throw error
        } catch {
            throw ReceiveError(.unavailable, "\(name) cannot be read: \(error)")
        }
    }
}
