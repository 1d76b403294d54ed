/// Which transfers may go: so many at a time in all, and so many at a time to one host until they have a
/// connection, because every name looked up takes a thread of its own. First come, first served, but for
/// those that wait for their host.
struct Admission<Item> {
    private struct Host {
        var starting = 0
        var waiting = Line<Item>()
    }

    private let transfersMax: Int
    private let startingMax: Int
    private var active = 0
    private var line = Line<(item: Item, host: String)>()
    private var freed = Line<(item: Item, host: String)>()
    /// Only those with something on its way to a connection.
    private var hosts: [String: Host] = [:]

    init(transfersMax: Int, startingMax: Int) {
        self.transfersMax = transfersMax
        self.startingMax = startingMax
    }

    mutating func add(_ item: Item, to host: String) {
        line.append((item, host))
    }

    /// The next that may go now; it counts until `hasEnded`.
    mutating func next() -> Item? {
        while active < transfersMax, let (item, name) = freed.popFirst() ?? line.popFirst() {
            var host = hosts[name] ?? Host()
            guard host.starting < startingMax else {
                host.waiting.append(item)
                hosts[name] = host
                continue
            }
            host.starting += 1
            hosts[name] = host
            active += 1
            return item
        }
        return nil
    }

    /// It has its connection: another may look the same host up.
    mutating func hasStarted(on name: String) {
        guard var host = hosts[name] else { return }
        host.starting -= 1
        if let item = host.waiting.popFirst() { freed.append((item, name)) }
        hosts[name] = host.starting == 0 && host.waiting.isEmpty ? nil : host
    }

    mutating func hasEnded(on name: String, hadStarted: Bool) {
        if !hadStarted { hasStarted(on: name) }
        active -= 1
    }
}

/// First in, first out, without moving what waits at every step.
struct Line<Item> {
    private var items: [Item?] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }

    mutating func append(_ item: Item) {
        items.append(item)
    }

    mutating func popFirst() -> Item? {
        guard head < items.count else { return nil }
        defer {
            items[head] = nil
            head += 1
            if head > 64, head * 2 > items.count {
                items.removeFirst(head)
                head = 0
            }
        }
        return items[head]
    }
}
