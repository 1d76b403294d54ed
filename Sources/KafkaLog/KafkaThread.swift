import CRDKafka
import Glibc
import Pipeline

/// A thread of our own, for calls that block: never one of Swift's.
enum KafkaThread {
    /// Runs `body` with every signal blocked: handlers belong to other threads. `name`: at most 15 bytes.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(EventLogError) {
        final class Body: Sendable {
            let name: String
            let run: @Sendable () -> Void
            init(_ name: String, _ run: @escaping @Sendable () -> Void) {
                self.name = name
                self.run = run
            }
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Body(name, body))
        let error = pthread_create(
            &thread,
            nil,
            { argument in
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
                guard let argument else { return nil }
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                penstock_name_thread(body.name)
                body.run()
                return nil
            },
            argument.toOpaque()
        )
        guard error == 0 else {
            argument.release()
            throw EventLogError(.unavailable, "no thread for Kafka: \(String(cString: strerror(error)))")
        }
        pthread_detach(thread)
    }

    /// Runs `body` on a thread that is there for it alone, and returns what it returns.
    static func run<Value: Sendable>(
        _ name: String,
        _ body: @escaping @Sendable () throws(EventLogError) -> Value
    ) async throws(EventLogError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, EventLogError>, Never>) in
            do throws(EventLogError) {
                try start(name) {
                    do throws(EventLogError) {
                        continuation.resume(returning: .success(try body()))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }
}
