#include "extensions/filters/http/header_mutation/header_mutation.h"

#include <algorithm>

#include "http/query.h"

namespace sluice::extensions::header_mutation {
namespace {

using http::HeaderMap;
using Append = model::HeaderRules::Append;

void apply(const QueryMutation& m, http::QueryParameters& parameters, const ext::StreamInfo& info) {
  auto named = [&](const auto& p) { return p.first == m.name; };
  if (m.remove) {
    std::erase_if(parameters, named);
    return;
  }
  const bool there = std::any_of(parameters.begin(), parameters.end(), named);
  if (m.action == Append::add_if_absent && there) return;
  if (m.action == Append::overwrite_if_exists && !there) return;
  if (m.action == Append::overwrite_if_exists || m.action == Append::overwrite_if_exists_or_add)
    std::erase_if(parameters, named);
  parameters.emplace_back(m.name, value_of(m.literal, m.formatter.get(), info));
}

void mutate_query(const std::vector<QueryMutation>& list, HeaderMap& headers, const ext::StreamInfo& info) {
  if (list.empty() || !headers.has(http::Name::path)) return;
  std::string_view path = headers.get(http::Name::path);
  http::QueryParameters parameters = http::parse_query(http::query_of(path).value_or(""));
  for (const QueryMutation& m : list) apply(m, parameters, info);
  // Envoy's parameters come out sorted by name.
  std::stable_sort(parameters.begin(), parameters.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  headers.set(http::Name::path, http::replace_query(path, parameters));
}

class HeaderMutation final : public ext::HttpFilter {
 public:
  HeaderMutation(const Mutations& own, bool most_specific_wins)
      : own_(own), most_specific_wins_(most_specific_wins) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool) override {
    each([&](const Mutations& m) {
      extensions::apply(m.request, headers, context_->stream_info());
      mutate_query(m.query, headers, context_->stream_info());
    });
    return ext::HeadersStatus::proceed;
  }
  ext::TrailersStatus on_request_trailers(HeaderMap& trailers) override {
    each([&](const Mutations& m) {
      extensions::apply(m.request_trailers, trailers, context_->stream_info());
    });
    return ext::TrailersStatus::proceed;
  }
  ext::HeadersStatus on_response_headers(HeaderMap& headers, bool) override {
    each([&](const Mutations& m) { extensions::apply(m.response, headers, context_->stream_info()); });
    return ext::HeadersStatus::proceed;
  }
  ext::TrailersStatus on_response_trailers(HeaderMap& trailers) override {
    each([&](const Mutations& m) {
      extensions::apply(m.response_trailers, trailers, context_->stream_info());
    });
    return ext::TrailersStatus::proceed;
  }

 private:
  template <typename F>
  void each(F f) {
    f(own_);
    std::vector<const Mutations*> levels;  // the least specific first
    context_->each_route_config([&](const ext::HttpRouteConfig& c) {
      if (const auto* mutations = dynamic_cast<const Mutations*>(&c)) levels.push_back(mutations);
    });
    if (!most_specific_wins_) std::reverse(levels.begin(), levels.end());
    for (const Mutations* m : levels) f(*m);
  }

  const Mutations& own_;
  const bool most_specific_wins_;
  ext::HttpFilterContext* context_ = nullptr;
};

}  // namespace

ext::HttpFilterFactory make_factory(std::shared_ptr<const Mutations> mutations, bool most_specific_wins) {
  return [=](const ext::HttpFilterScope&) -> ext::HttpFilterMaker {
    return [=] { return std::make_unique<HeaderMutation>(*mutations, most_specific_wins); };
  };
}

}  // namespace sluice::extensions::header_mutation
