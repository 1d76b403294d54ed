/// Where the brokers are and who we are to them.
package struct KafkaSettings: Sendable, Hashable {
    package enum Membership: String, Sendable, CaseIterable {
        /// The member's name is its `group.instance.id`: back within `session.timeout.ms` it gets its own
        /// partitions again, and nobody else is disturbed. Partitions of one that stays away wait so long.
        case `static`
        /// A member that leaves gives its partitions up at once; every start and stop moves partitions.
        case dynamic
    }

    /// `host:port`, several separated by commas.
    package var bootstrap: String
    /// Unique among the running processes and the same after a restart: names the transactional producers.
    package var instance: String
    package var membership: Membership
    /// librdkafka's properties, over ours; those that the guarantees rest on are refused.
    package var properties: [String: String]

    package init(
        bootstrap: String,
        instance: String,
        membership: Membership = .static,
        properties: [String: String] = [:]
    ) {
        self.bootstrap = bootstrap
        self.instance = instance
        self.membership = membership
        self.properties = properties
    }
}
