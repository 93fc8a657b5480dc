#include "config/discovered_filter.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "config/any.h"
#include "config/convert.h"
#include "config/factory_context.h"
#include "config/translate_config_source.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/config/core/v3/extension.pb.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;

namespace {

class MissingConfig final : public ext::HttpFilter {
 public:
  void init(ext::HttpFilterContext& context) override { context_ = &context; }
  ext::HeadersStatus on_request_headers(http::HeaderMap&, bool) override {
    context_->stream_info().flags.set(ext::ResponseFlag::no_filter_config);
    context_->send_local_reply({.status = 500});
    return ext::HeadersStatus::stop;
  }

 private:
  ext::HttpFilterContext* context_ = nullptr;
};

std::string type_of(std::string_view url) {
  return std::string(url.substr(url.rfind('/') + 1));
}

Result<std::shared_ptr<const ext::HttpFilterFactory>> make_factory(const google::protobuf::Any& any,
                                                                   const std::vector<std::string>& types,
                                                                   FactoryContext& context,
                                                                   const FieldPath& path) {
  SLUICE_ASSIGN(auto config, unpack(any, path));
  const std::string& type = config->GetDescriptor()->full_name();
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    std::string all;
    for (const std::string& t : types) all += (all.empty() ? "" : ", ") + t;
    return refuse(path, "filter config has type URL " + type + " but expect " + all);
  }
  const auto* extension = context.registry().http_filter(type);
  if (extension == nullptr)
    return no_such_extension(FieldPath(), type, "HTTP filter", context.registry(), "http_filters", "");
  SLUICE_ASSIGN(auto factory, extension->create(*config, context, path.to_string()));
  return std::make_shared<const ext::HttpFilterFactory>(std::move(factory));
}

}  // namespace

Result<DiscoveredFilter> to_discovered_filter(const core::ExtensionConfigSource& in, const std::string& name,
                                              FactoryContext& context, const FieldPath& path) {
  DiscoveredFilter out;
  const FieldPath urls = path.field("type_urls");
  for (int i = 0; i < in.type_urls_size(); ++i) {
    const std::string type = type_of(in.type_urls(i));
    const FieldPath at = urls.item(static_cast<size_t>(i));
    const auto* extension = context.registry().http_filter(type);
    if (extension == nullptr)
      return refuse(at, type + " is not an HTTP filter that this version of Sluice has; " +
                            known_names(context.registry(), "http_filters", name));
    if (i > 0 && extension->terminal != out.terminal)
      return refuse(at, "terminal filters and others cannot stand in the same place of the chain");
    out.terminal = extension->terminal;
    out.request.types.push_back(type);
  }
  out.request.name = name;
  SLUICE_ASSIGN(out.request.source, to_config_source(in.config_source(), path.field("config_source")));
  if (in.has_default_config()) {
    SLUICE_ASSIGN(out.request.fallback, make_factory(in.default_config(), out.request.types, context,
                                                     path.field("default_config")));
  }
  if (in.apply_default_config_without_warming() && !out.request.fallback)
    return refuse(path.field("apply_default_config_without_warming"), "is of no use without default_config");
  out.request.ready_with_fallback = in.apply_default_config_without_warming();
  return out;
}

ext::HttpFilterFactory make_discovered_factory(std::shared_ptr<const FilterSource> source) {
  return [source](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    struct State {
      std::shared_ptr<const FilterSource> source;
      ext::HttpFilterScope scope;
      uint64_t generation = 0;
      ext::HttpFilterMaker maker = nullptr;
    };
    auto state = std::make_shared<State>(State{source, scope});
    return [state]() -> std::unique_ptr<ext::HttpFilter> {
      if (uint64_t now = state->source->generation(); now != state->generation) {
        state->generation = now;
        auto factory = state->source->current();
        state->maker = factory ? (*factory)(state->scope) : nullptr;
      }
      if (!state->maker) return std::make_unique<MissingConfig>();
      return state->maker();
    };
  };
}

Result<std::shared_ptr<const ext::HttpFilterFactory>> make_filter_factory(
    const google::protobuf::Message& extension, const std::vector<std::string>& types,
    FactoryContext& context) {
  const auto& in = static_cast<const core::TypedExtensionConfig&>(extension);
  const FieldPath top;
  return make_factory(in.typed_config(), types, context, top.field("typed_config"));
}

}  // namespace sluice::config
