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
        let models = settings.models.map { model -> any ModelProvider in
            switch model {
            case .offline: OfflineModel()
            case .openAI(let remote):
                OpenAIModel(
                    baseURL: remote.baseURL,
                    model: remote.model,
                    key: { try key(of: remote, isNeeded: remote.baseURL.contains("api.openai.com")) },
                    transport: transport
                )
            case .anthropic(let remote):
                AnthropicModel(
                    baseURL: remote.baseURL,
                    model: remote.model,
                    key: { try key(of: remote, isNeeded: true) },
                    transport: transport
                )
            }
        }
        return models.count == 1 ? models[0] : FailoverModel(models)
    }

    /// A local server wants no key; one that is not set is no reason to fail there.
    private static func key(of remote: Settings.RemoteModel, isNeeded: Bool) throws -> String {
        do {
            return try remote.key.value()
        } catch  where !isNeeded {
            return ""
        }
    }
}
