import Adapters
import Edge
import Pipeline

extension Composition {
    /// The model, or several in the order in which they stand in for each other.
    static func model(_ settings: Settings) throws -> any ModelProvider {
        let transport = CurlTransport(
            transfersMax: 4_096,
            shards: 16,
            userAgent: "penstock/\(Penstock.version)"
        )
        let models: [any ModelProvider] = settings.models.map { model in
            switch model {
            case .offline: OfflineModel()
            case .openAI(let settings): OpenAIModel(remote(settings, transport, "://api.openai.com"))
            case .anthropic(let settings): AnthropicModel(remote(settings, transport, "://"))
            }
        }
        return models.count == 1 ? models[0] : FailoverModel(models)
    }

    /// A server of one's own may want no key: one that is not set is a reason to fail only where the address
    /// has `needing`.
    private static func remote(
        _ settings: Settings.RemoteModel,
        _ transport: CurlTransport,
        _ needing: String
    ) -> RemoteModel {
        RemoteModel(
            baseURL: settings.baseURL,
            model: settings.model,
            transport: transport,
            limits: HTTPLimits(total: .seconds(600), silence: .seconds(120), bodyBytesMax: 32 << 20)
        ) {
            do throws(SecretError) {
                return try settings.key.value()
            } catch {
                if settings.baseURL.contains(needing) { throw error }
                return nil
            }
        }
    }
}
