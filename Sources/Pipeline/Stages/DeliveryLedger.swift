import Crypto
import JSON
import Topics

/// What is known of each piece of a reply on its way to a platform, in the object store.
package struct DeliveryLedger: Sendable {
    package enum Entry: Sendable, Hashable {
        /// About to be sent, or sent without an answer.
        case started
        case sent(platformID: String)
    }

    private let objects: any ObjectStore

    package init(_ objects: any ObjectStore) {
        self.objects = objects
    }

    package func entry(of delivery: Delivery) async throws(ObjectStoreError) -> Entry? {
        guard let object = try await objects.get(key(delivery)) else { return nil }
        // What is not readable as sent means that an answer was never noted.
        guard let value = try? JSONValue(json: object.body), value["sent"]?.boolValue == true else {
            return .started
        }
        return .sent(platformID: value["platform_id"]?.stringValue ?? "")
    }

    package func note(_ delivery: Delivery, _ entry: Entry) async throws(ObjectStoreError) {
        let value: JSONValue
        let condition: PutCondition
        switch entry {
        case .started: (value, condition) = (.object(["sent": false]), .absent)
        case .sent(let platformID):
            (value, condition) = (.object(["sent": true, "platform_id": .string(platformID)]), .always)
        }
        _ = try await objects.put(key(delivery), value.json, if: condition)
    }

    private func key(_ delivery: Delivery) -> String {
        let hash = SHA256.hex(Array(delivery.idempotencyKey.utf8))
        return "\(ConversationKeys(delivery.reply.conversation).prefix)/d/\(hash.prefix(32))"
    }
}
