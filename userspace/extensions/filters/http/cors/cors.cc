#include "extensions/filters/http/cors/cors.h"

#include <algorithm>

#include "model/route.h"

namespace sluice::extensions::cors {
namespace {

using http::HeaderMap;
using http::Name;

struct Stats {
  stats::Counter origin_valid, origin_invalid;
};

class Cors final : public ext::HttpFilter {
 public:
  explicit Cors(Stats& stats) : stats_(stats) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool) override {
    using enum ext::HeadersStatus;
    const model::RouteMatch* route = context_->route();
    if (!route || !route->action()) return proceed;
    policies_.clear();
    context_->each_route_config([&](const ext::HttpRouteConfig& c) {
      if (const auto* policy = dynamic_cast<const Policy*>(&c)) policies_.push_back(policy);
    });
    std::reverse(policies_.begin(), policies_.end());
    if (policies_.empty()) return proceed;
    const Policy& first = *policies_.front();
    const bool enabled = !first.filter_enabled || first.filter_enabled->hit(context_->random().next());
    const bool shadow = first.shadow_enabled && first.shadow_enabled->hit(context_->random().next());
    std::string_view origin = headers.get(Name::origin);
    if ((!enabled && !shadow) || origin.empty()) return proceed;

    const bool allowed = origin_allowed(origin);
    (allowed ? stats_.origin_valid : stats_.origin_invalid).add();
    if (!enabled) return proceed;
    latch(origin, allowed);

    std::string_view method = headers.get(Name::access_control_request_method);
    if (headers.get(Name::method) != "OPTIONS" || method.empty()) return proceed;
    if (!allowed && flag(&Policy::forward_not_matching_preflights, true)) return proceed;
    answer_preflight(headers, origin, allowed);
    return stop;
  }

  ext::HeadersStatus on_response_headers(HeaderMap& headers, bool) override {
    if (!origin_.empty()) {
      headers.set(Name::access_control_allow_origin, origin_);
      if (allow_credentials_) headers.set_static(Name::access_control_allow_credentials, "true");
      if (!expose_headers_.empty()) headers.set(Name::access_control_expose_headers, expose_headers_);
    }
    return ext::HeadersStatus::proceed;
  }

 private:
  // What the response needs: the route, and its policies with it, may be another by then.
  void latch(std::string_view origin, bool allowed) {
    if (!allowed) return;
    origin_ = origin;
    allow_credentials_ = flag(&Policy::allow_credentials, false);
    expose_headers_ = text(&Policy::expose_headers);
  }

  bool origin_allowed(std::string_view origin) const {
    for (const Policy* p : policies_) {
      if (p->allow_origins.empty()) continue;
      return std::any_of(p->allow_origins.begin(), p->allow_origins.end(),
                         [&](const model::StringMatcher& m) { return m.matches("*") || m.matches(origin); });
    }
    return false;
  }

  void answer_preflight(const HeaderMap& headers, std::string_view origin, bool allowed) {
    auto wildcard = [&](std::string_view configured, Name asked) {
      return configured == "*" ? headers.get(asked) : configured;
    };
    context_->send_local_reply(
        {.status = 200, .details = "cors_response", .modify = [&](HeaderMap& response) {
           if (allowed) response.set(Name::access_control_allow_origin, origin);
           if (flag(&Policy::allow_credentials, false))
             response.set_static(Name::access_control_allow_credentials, "true");
           if (auto v = text(&Policy::allow_methods); !v.empty())
             response.set(Name::access_control_allow_methods,
                          wildcard(v, Name::access_control_request_method));
           if (auto v = text(&Policy::allow_headers); !v.empty())
             response.set(Name::access_control_allow_headers,
                          wildcard(v, Name::access_control_request_headers));
           if (auto v = text(&Policy::max_age); !v.empty()) response.set(Name::access_control_max_age, v);
           if (flag(&Policy::allow_private_network_access, false) &&
               headers.get("access-control-request-private-network") == "true")
             response.set("access-control-allow-private-network", "true");
         }});
  }

  std::string_view text(std::string Policy::* member) const {
    for (const Policy* p : policies_)
      if (!(p->*member).empty()) return p->*member;
    return {};
  }
  bool flag(std::optional<bool> Policy::* member, bool otherwise) const {
    for (const Policy* p : policies_)
      if (p->*member) return *(p->*member);
    return otherwise;
  }

  Stats& stats_;
  ext::HttpFilterContext* context_ = nullptr;
  std::vector<const Policy*> policies_;  // the most specific first; only while on_request_headers runs
  std::string origin_;  // allowed
  std::string expose_headers_;
  bool allow_credentials_ = false;
};

}  // namespace

ext::HttpFilterFactory make_factory() {
  return [](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    auto stats =
        std::make_shared<Stats>(Stats{scope.root.counter(scope.stat_prefix + "cors.origin_valid"),
                                      scope.root.counter(scope.stat_prefix + "cors.origin_invalid")});
    return [stats] { return std::make_unique<Cors>(*stats); };
  };
}

}  // namespace sluice::extensions::cors
