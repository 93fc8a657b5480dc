#include "extensions/common/rbac/rule.h"

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>

#include "extensions/common/rbac/intervals.h"
#include "http/header_map.h"
#include "http/query.h"

namespace sluice::extensions::rbac {
namespace {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Names = std::unordered_set<std::string, TextHash, std::equal_to<>>;

const Address& address_of(AddressOf which, const Subject& s) {
  switch (which) {
    case AddressOf::destination:
      return s.info.downstream_local;
    case AddressOf::connection:
      return s.connection_remote;
    case AddressOf::direct_remote:
      return s.info.downstream_direct_remote;
    case AddressOf::remote:
      return s.info.downstream_remote;
  }
  return s.info.downstream_remote;
}

// Nothing: there is no path, or no request.
std::optional<std::string_view> path_of(const Subject& s) {
  if (s.headers == nullptr || !s.headers->has(http::Name::path)) return {};
  const std::string_view path = s.headers->get(http::Name::path);
  return path.substr(0, path.find_first_of("?#"));
}

class AlwaysMatcher final : public Matcher {
 public:
  bool matches(const Subject&) const override { return true; }
};

class NotMatcher final : public Matcher {
 public:
  explicit NotMatcher(MatcherPtr inner) : inner_(std::move(inner)) {}
  bool matches(const Subject& s) const override { return !inner_->matches(s); }

 private:
  const MatcherPtr inner_;
};

class AllMatcher final : public Matcher {
 public:
  explicit AllMatcher(std::vector<MatcherPtr> list) : list_(std::move(list)) {}
  bool matches(const Subject& s) const override {
    for (const auto& m : list_)
      if (!m->matches(s)) return false;
    return true;
  }

 private:
  const std::vector<MatcherPtr> list_;
};

class AnyMatcher final : public Matcher {
 public:
  explicit AnyMatcher(std::vector<MatcherPtr> list) : list_(std::move(list)) {}
  bool matches(const Subject& s) const override {
    for (const auto& m : list_)
      if (m->matches(s)) return true;
    return false;
  }

 private:
  const std::vector<MatcherPtr> list_;
};

class HeaderMatcher final : public Matcher {
 public:
  explicit HeaderMatcher(model::HeaderMatcher matcher) : matcher_(std::move(matcher)) {}
  bool matches(const Subject& s) const override {
    return s.headers != nullptr && matcher_.matches(*s.headers);
  }

 private:
  const model::HeaderMatcher matcher_;
};

class MetadataRule final : public Matcher {
 public:
  explicit MetadataRule(MetadataMatcher matcher) : matcher_(std::move(matcher)) {}
  bool matches(const Subject& s) const override { return matcher_.matches(s.info.dynamic_metadata.get()); }

 private:
  const MetadataMatcher matcher_;
};

class AnyPeerMatcher final : public Matcher {
 public:
  bool matches(const Subject& s) const override { return s.info.downstream_tls != nullptr; }
};

class PathTemplateMatcher final : public Matcher {
 public:
  explicit PathTemplateMatcher(Regex regex) : regex_(std::move(regex)) {}
  bool matches(const Subject& s) const override {
    const auto path = path_of(s);
    return path && regex_.full_match(*path);
  }

 private:
  const Regex regex_;
};

// The texts that a kind of rule looks at: f(text) until one pleases.
struct PathText {
  template <typename F>
  static bool any(const Subject& s, F f) {
    const auto path = path_of(s);
    return path && f(*path);
  }
};
struct ServerNameText {
  template <typename F>
  static bool any(const Subject& s, F f) {
    return f(std::string_view(s.info.requested_server_name));
  }
};
struct PeerText {
  template <typename F>
  static bool any(const Subject& s, F f) {
    if (s.info.downstream_tls == nullptr) return false;
    const ext::CertificateInfo* peer = s.info.downstream_tls->peer();
    if (peer == nullptr) return f(std::string_view());  // Envoy: TLS, and a subject without a name
    for (const std::string& name : peer->uri_sans)
      if (f(std::string_view(name))) return true;
    for (const std::string& name : peer->dns_sans)
      if (f(std::string_view(name))) return true;
    return f(std::string_view(peer->subject));
  }
};

template <typename Text>
class TextMatcher final : public Matcher {
 public:
  explicit TextMatcher(StringMatcher matcher) : matcher_(std::move(matcher)) {}
  bool matches(const Subject& s) const override {
    return Text::any(s, [this](std::string_view text) { return matcher_.matches(text); });
  }

 private:
  const StringMatcher matcher_;
};

template <typename Text>
class TextsMatcher final : public Matcher {
 public:
  explicit TextsMatcher(Names names) : names_(std::move(names)) {}
  bool matches(const Subject& s) const override {
    return Text::any(s, [this](std::string_view text) { return names_.contains(text); });
  }

 private:
  const Names names_;
};

class HeaderValuesMatcher final : public Matcher {
 public:
  HeaderValuesMatcher(std::string name, Names values)
      : name_(std::move(name)), id_(http::find_name(name_)), values_(std::move(values)) {}
  bool matches(const Subject& s) const override {
    if (s.headers == nullptr || !s.headers->has(id_)) return false;
    for (const auto& field : *s.headers) {
      if (id_ != http::Name::other ? field.id == id_ : field.name == name_) {
        if (values_.contains(field.value)) return true;
      }
    }
    return false;
  }

 private:
  const std::string name_;
  const http::Name id_;
  const Names values_;
};

class AddressMatcher final : public Matcher {
 public:
  AddressMatcher(AddressOf which, const std::vector<Cidr>& ranges) : which_(which) {
    for (const Cidr& range : ranges) {
      Bytes first = range.address().bytes(), last = first;
      const unsigned bits = range.address().is_v4() ? 32 : 128;
      for (unsigned bit = range.prefix_len(); bit < bits; ++bit)
        last[bit / 8] |= static_cast<uint8_t>(0x80u >> bit % 8);
      (range.address().is_v4() ? v4_ : v6_).add(first, last);
    }
    v4_.finish();
    v6_.finish();
  }
  bool matches(const Subject& s) const override {
    // As in Envoy, where ::ffff:10.0.0.1 is 10.0.0.1 from the start.
    const IpAddress ip = address_of(which_, s).ip().unmapped();
    if (ip.is_v4()) return v4_.contains(ip.bytes());
    return ip.is_v6() && v6_.contains(ip.bytes());
  }

 private:
  using Bytes = std::array<uint8_t, 16>;
  const AddressOf which_;
  Intervals<Bytes> v4_, v6_;
};

class PortMatcher final : public Matcher {
 public:
  explicit PortMatcher(Intervals<uint32_t> ports) : ports_(std::move(ports)) {}
  bool matches(const Subject& s) const override {
    return s.info.downstream_local.is_ip() && ports_.contains(s.info.downstream_local.port());
  }

 private:
  const Intervals<uint32_t> ports_;
};

// "or" of one rule and "and" of one rule are that rule.
Rule simplified(Rule rule) {
  for (;;) {
    std::vector<Rule>* list = nullptr;
    if (auto* all = std::get_if<AllOf>(&rule.what)) list = &all->rules;
    if (auto* any = std::get_if<AnyOf>(&rule.what)) list = &any->rules;
    if (list == nullptr || list->size() != 1) return rule;
    Rule only = std::move(list->front());
    rule = std::move(only);
  }
}

// The rules of an "or" (`List` AnyOf) or "and" (AllOf) with those of the ones inside it.
template <typename List>
void flatten(std::vector<Rule> rules, std::vector<Rule>& out) {
  for (Rule& r : rules) {
    Rule rule = simplified(std::move(r));
    if (auto* inner = std::get_if<List>(&rule.what))
      flatten<List>(std::move(inner->rules), out);
    else
      out.push_back(std::move(rule));
  }
}

bool plain_exact(const StringMatcher& m) {
  return m.kind == StringMatcher::Kind::exact && !m.ignore_case;
}

// Alternatives, sorted by what can be asked in one go.
class Alternatives {
 public:
  void add(Rule rule) {
    if (!std::visit([this](auto& r) { return take(r); }, rule.what))
      others_.push_back(compile(std::move(rule)));
  }

  MatcherPtr finish() {
    if (always_) return std::make_unique<AlwaysMatcher>();
    std::vector<MatcherPtr> list;
    if (!ports_.empty()) {
      ports_.finish();
      list.push_back(std::make_unique<PortMatcher>(std::move(ports_)));
    }
    for (auto& [which, ranges] : ranges_) list.push_back(std::make_unique<AddressMatcher>(which, ranges));
    add_names<PeerText>(peers_, list);
    add_names<ServerNameText>(server_names_, list);
    add_names<PathText>(paths_, list);
    for (auto& [name, values] : headers_)
      list.push_back(std::make_unique<HeaderValuesMatcher>(name, std::move(values)));
    for (auto& other : others_) list.push_back(std::move(other));
    if (list.size() == 1) return std::move(list.front());
    return std::make_unique<AnyMatcher>(std::move(list));
  }

 private:
  template <typename T>
  bool take(T& r) {
    if constexpr (std::is_same_v<T, Always>) {
      return always_ = true;
    } else if constexpr (std::is_same_v<T, PortIn>) {
      if (r.begin < r.end) ports_.add(r.begin, r.end - 1);
      return r.begin < r.end;
    } else if constexpr (std::is_same_v<T, AddressIn>) {
      ranges_[r.which].push_back(r.range);
      return true;
    } else if constexpr (std::is_same_v<T, PeerIs>) {
      return r.name && take_name(*r.name, peers_);
    } else if constexpr (std::is_same_v<T, ServerNameIs>) {
      return take_name(r.matcher, server_names_);
    } else if constexpr (std::is_same_v<T, PathIs>) {
      return take_name(r.matcher, paths_);
    } else if constexpr (std::is_same_v<T, HeaderIs>) {
      const model::HeaderMatcher& m = r.matcher;
      if (m.kind != model::HeaderMatcher::Kind::string || m.invert || m.treat_missing_as_empty) return false;
      return plain_exact(m.string) && take_name(m.string, headers_[m.name]);
    } else {
      return false;
    }
  }
  static bool take_name(StringMatcher& m, Names& to) {
    if (!plain_exact(m)) return false;
    to.insert(std::move(m.text));
    return true;
  }
  static bool take_name(const StringMatcher& m, Names& to) {
    to.insert(m.text);
    return true;
  }
  template <typename Text>
  static void add_names(Names& names, std::vector<MatcherPtr>& list) {
    if (!names.empty()) list.push_back(std::make_unique<TextsMatcher<Text>>(std::move(names)));
  }

  bool always_ = false;
  Intervals<uint32_t> ports_;
  std::map<AddressOf, std::vector<Cidr>> ranges_;
  Names peers_, server_names_, paths_;
  std::map<std::string, Names> headers_;
  std::vector<MatcherPtr> others_;
};

MatcherPtr compile_any(std::vector<Rule> rules) {
  std::vector<Rule> flat;
  flatten<AnyOf>(std::move(rules), flat);
  Alternatives alternatives;
  for (Rule& rule : flat) alternatives.add(std::move(rule));
  return alternatives.finish();
}

MatcherPtr compile_all(std::vector<Rule> rules) {
  std::vector<Rule> flat;
  flatten<AllOf>(std::move(rules), flat);
  std::vector<MatcherPtr> list;
  for (Rule& rule : flat) {
    if (!std::holds_alternative<Always>(rule.what)) list.push_back(compile(std::move(rule)));
  }
  if (list.empty()) return std::make_unique<AlwaysMatcher>();
  if (list.size() == 1) return std::move(list.front());
  return std::make_unique<AllMatcher>(std::move(list));
}

}  // namespace

MatcherPtr compile(Rule rule) {
  rule = simplified(std::move(rule));
  return std::visit(
      [](auto&& r) -> MatcherPtr {
        using T = std::decay_t<decltype(r)>;
        if constexpr (std::is_same_v<T, Always>) {
          return std::make_unique<AlwaysMatcher>();
        } else if constexpr (std::is_same_v<T, AllOf>) {
          return compile_all(std::move(r.rules));
        } else if constexpr (std::is_same_v<T, AnyOf>) {
          return compile_any(std::move(r.rules));
        } else if constexpr (std::is_same_v<T, Not>) {
          return std::make_unique<NotMatcher>(compile(std::move(*r.rule)));
        } else if constexpr (std::is_same_v<T, HeaderIs>) {
          return std::make_unique<HeaderMatcher>(std::move(r.matcher));
        } else if constexpr (std::is_same_v<T, PathIs>) {
          return std::make_unique<TextMatcher<PathText>>(std::move(r.matcher));
        } else if constexpr (std::is_same_v<T, PathFits>) {
          return std::make_unique<PathTemplateMatcher>(std::move(r.regex));
        } else if constexpr (std::is_same_v<T, AddressIn>) {
          return std::make_unique<AddressMatcher>(r.which, std::vector<Cidr>{r.range});
        } else if constexpr (std::is_same_v<T, PortIn>) {
          Intervals<uint32_t> ports;
          if (r.begin < r.end) ports.add(r.begin, r.end - 1);
          ports.finish();
          return std::make_unique<PortMatcher>(std::move(ports));
        } else if constexpr (std::is_same_v<T, ServerNameIs>) {
          return std::make_unique<TextMatcher<ServerNameText>>(std::move(r.matcher));
        } else if constexpr (std::is_same_v<T, PeerIs>) {
          if (!r.name) return std::make_unique<AnyPeerMatcher>();
          return std::make_unique<TextMatcher<PeerText>>(std::move(*r.name));
        } else {
          return std::make_unique<MetadataRule>(std::move(r.matcher));
        }
      },
      std::move(rule.what));
}

}  // namespace sluice::extensions::rbac
