#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "config/honoured.h"
#include "config/protos.h"
#include "config/rules.h"
#include "core/random.h"
#include "sluice/ext/registry.h"

namespace sluice::config::test {

// Messages of the API with random fields. Most of what is in them is what the rules and the lists want; the rest lies on
// both sides of their bounds, is missing, or is not honoured.
class RandomMessage {
 public:
  using Message = google::protobuf::Message;
  using Descriptor = google::protobuf::Descriptor;
  using Field = google::protobuf::FieldDescriptor;
  using Rules = validate::FieldRules;

  // One in `odd` choices is made without a look at what is right; 0: none.
  RandomMessage(uint64_t seed, const ext::Registry& registry, const HonouredFields& lists, uint64_t odd)
      : random_(seed), lists_(lists), odd_(odd) {
    registry.for_each_honoured(
        [this](const ext::Honoured& list) { contents_.push_back(find_message_type(list.message)); });
  }

  void fill(Message& m, int depth = 0) {
    const Descriptor& type = *m.GetDescriptor();
    if (type.full_name() == "google.protobuf.Any")
      return fill_any(static_cast<google::protobuf::Any&>(m), depth);
    const bool value = is_value(type);
    for (int i = 0; i < type.real_oneof_decl_count(); ++i) fill_oneof(m, *type.oneof_decl(i), depth);
    for (int i = 0; i < type.field_count(); ++i) {
      const Field& f = *type.field(i);
      if (f.real_containing_oneof() != nullptr) continue;
      const bool wanted = !rules::check_absent(rules::of(f), f).empty();
      const bool may = value || lists_.lets_through(f) || oddly();
      if ((wanted && !oddly()) || (may && random_.chance(1, 3 + static_cast<uint32_t>(depth)) && depth < 8))
        fill_field(m, f, depth);
    }
  }

  Random& random() { return random_; }

 private:
  bool oddly() { return odd_ > 0 && random_.below(odd_) == 0; }

  void fill_oneof(Message& m, const google::protobuf::OneofDescriptor& oneof, int depth) {
    const bool wanted = oneof.options().GetExtension(validate::required) && !oddly();
    if (!wanted && (depth >= 8 || random_.chance(1, 2))) return;
    std::vector<const Field*> some;
    for (int i = 0; i < oneof.field_count(); ++i) {
      const Field& f = *oneof.field(i);
      const bool deep = f.message_type() != nullptr && depth > 4;
      if ((is_value(*m.GetDescriptor()) || lists_.lets_through(f)) && (!deep || some.empty()))
        some.push_back(&f);
      // The last scalar, if there is one, ends what is deep already.
      if (!deep && depth > 4 && lists_.lets_through(f)) some = {&f};
    }
    if (oddly() || some.empty())
      fill_field(m, *oneof.field(static_cast<int>(random_.below(static_cast<uint64_t>(oneof.field_count())))),
                 depth);
    else
      fill_field(m, *some[random_.below(some.size())], depth);
  }

  void fill_any(google::protobuf::Any& any, int depth) {
    if (oddly()) {
      static const char* const urls[] = {"",
                                         "x",
                                         "type.googleapis.com/no.such.Type",
                                         "é/google.protobuf.Any",
                                         "type.googleapis.com/google.protobuf.Struct",
                                         "type.googleapis.com/xds.type.v3.TypedStruct"};
      any.set_type_url(urls[random_.below(std::size(urls))]);
      if (random_.chance(1, 2)) any.set_value("\x0a\x01\xff");
      return;
    }
    // Deep down something small.
    const Descriptor* type = contents_[random_.below(contents_.size())];
    for (int i = 0; i < 20 && depth > 3 && type->field_count() > 0; ++i)
      type = contents_[random_.below(contents_.size())];
    const std::unique_ptr<Message> content(prototype(*type).New());
    fill(*content, depth + 1);
    any.PackFrom(*content);
  }

  void fill_field(Message& m, const Field& f, int depth) {
    const Rules* rules = rules::of(f);
    static const Rules kNone;
    if (rules == nullptr) rules = &kNone;
    const google::protobuf::Reflection& r = *m.GetReflection();
    if (!f.is_repeated()) {
      if (f.cpp_type() == Field::CPPTYPE_MESSAGE)
        fill_message(*r.MutableMessage(&m, &f), *rules, depth);
      else
        set_scalar(m, f, *rules, false);
      return;
    }
    const bool map = f.is_map();
    uint64_t least = map ? rules->map().min_pairs() : rules->repeated().min_items();
    uint64_t most = map ? rules->map().max_pairs() : rules->repeated().max_items();
    if (most == 0 || most > least + 3) most = least + 3;
    uint64_t n = std::max<uint64_t>(1, least) + random_.below(most - least + 1);
    n = std::min(n, most);
    if (oddly()) n = random_.below(2) == 0 ? least - std::min<uint64_t>(least, 1) : most + 1;
    for (uint64_t i = 0; i < n && i < 40; ++i) {
      if (map) {
        Message& entry = *r.AddMessage(&m, &f);
        const Field& key = *f.message_type()->map_key();
        const Field& value = *f.message_type()->map_value();
        set_scalar(entry, key, rules->map().keys(), false);
        if (value.cpp_type() == Field::CPPTYPE_MESSAGE)
          fill_message(*entry.GetReflection()->MutableMessage(&entry, &value), rules->map().values(), depth);
        else
          set_scalar(entry, value, rules->map().values(), false);
      } else if (f.cpp_type() == Field::CPPTYPE_MESSAGE) {
        fill_message(*r.AddMessage(&m, &f), rules->repeated().items(), depth);
      } else {
        set_scalar(m, f, rules->repeated().items(), true);
      }
    }
  }

  void fill_message(Message& m, const Rules& rules, int depth) {
    if (m.GetDescriptor()->full_name() == "google.protobuf.Duration") {
      auto& d = static_cast<google::protobuf::Duration&>(m);
      const validate::DurationRules& bounds = rules.duration();
      for (int i = 0; i < 50; ++i) {
        static const int64_t seconds[] = {
            0, 1, 5, 60, 299, 300, 86'400, 8'999'999'999, 9'000'000'000, 9'000'000'001, 315'576'000'001, -1};
        static const int32_t nanos[] = {0, 0, 0, 1, 999'999, 1'000'000, 999'999'999, 1'000'000'000, -1};
        d.set_seconds(seconds[random_.below(std::size(seconds))]);
        d.set_nanos(nanos[random_.below(std::size(nanos))]);
        const google::protobuf::Duration* near[] = {&bounds.gt(), &bounds.gte(), &bounds.lt(), &bounds.lte()};
        const auto* bound = near[random_.below(4)];
        if (random_.chance(1, 3)) {
          d = *bound;
          d.set_nanos(d.nanos() + static_cast<int32_t>(random_.below(3)) - 1);
        }
        if (oddly() || rules::check_well_known(rules, d).empty()) return;
      }
      return;
    }
    using D = Descriptor;
    const D& type = *m.GetDescriptor();
    switch (type.well_known_type()) {
      case D::WELLKNOWNTYPE_UNSPECIFIED:
      case D::WELLKNOWNTYPE_ANY:
      case D::WELLKNOWNTYPE_STRUCT:
      case D::WELLKNOWNTYPE_LISTVALUE:
      case D::WELLKNOWNTYPE_VALUE:
      case D::WELLKNOWNTYPE_TIMESTAMP:
      case D::WELLKNOWNTYPE_FIELDMASK:
        if (depth < 30) fill(m, depth + 1);
        return;
      default:  // wrappers
        set_scalar(m, *type.field(0), rules, false);
    }
  }

  // One that the rules let through, if one is found; by an index the last one of a list, which is added.
  void set_scalar(Message& m, const Field& f, const Rules& rules, bool list) {
    const google::protobuf::Reflection& r = *m.GetReflection();
    for (int i = 0; i < 30; ++i) {
      if (list && i > 0) r.RemoveLast(&m, &f);
      set_any_scalar(m, f, rules, list);
      if (oddly() || rules::check_scalar(rules, m, f, list ? r.FieldSize(m, &f) - 1 : -1).empty()) return;
    }
  }

  template <typename T, typename R>
  T number(const R& rules) {
    T near = 0;
    switch (random_.below(6)) {
      case 0:
        near = rules.gt();
        break;
      case 1:
        near = rules.gte();
        break;
      case 2:
        near = rules.lt();
        break;
      case 3:
        near = rules.lte();
        break;
      case 4:
        near = static_cast<T>(random_.below(1000));
        break;
      default:
        near = static_cast<T>(random_.next() >> random_.below(64));
    }
    const uint64_t step = random_.below(4);
    return step == 0 ? near + 1 : step == 1 ? near - 1 : near;
  }

  void set_any_scalar(Message& m, const Field& f, const Rules& rules, bool list) {
    const google::protobuf::Reflection& r = *m.GetReflection();
    switch (f.cpp_type()) {
      case Field::CPPTYPE_INT32: {
        const auto v = static_cast<int32_t>(number<int64_t>(rules.int32()));
        return list ? r.AddInt32(&m, &f, v) : r.SetInt32(&m, &f, v);
      }
      case Field::CPPTYPE_INT64: {
        const auto v = static_cast<int64_t>(number<uint64_t>(rules.int64()));
        return list ? r.AddInt64(&m, &f, v) : r.SetInt64(&m, &f, v);
      }
      case Field::CPPTYPE_UINT32: {
        const auto v = number<uint32_t>(rules.uint32());
        return list ? r.AddUInt32(&m, &f, v) : r.SetUInt32(&m, &f, v);
      }
      case Field::CPPTYPE_UINT64: {
        const auto v = number<uint64_t>(rules.uint64());
        return list ? r.AddUInt64(&m, &f, v) : r.SetUInt64(&m, &f, v);
      }
      case Field::CPPTYPE_FLOAT: {
        const auto v = number<float>(rules.float_());
        return list ? r.AddFloat(&m, &f, v) : r.SetFloat(&m, &f, v);
      }
      case Field::CPPTYPE_DOUBLE: {
        double v = number<double>(rules.double_());
        if (random_.chance(1, 30)) v = std::numeric_limits<double>::quiet_NaN();
        return list ? r.AddDouble(&m, &f, v) : r.SetDouble(&m, &f, v);
      }
      case Field::CPPTYPE_BOOL:
        return list ? r.AddBool(&m, &f, random_.chance(1, 2)) : r.SetBool(&m, &f, random_.chance(1, 2));
      case Field::CPPTYPE_ENUM: {
        const auto* type = f.enum_type();
        int v = type->value(static_cast<int>(random_.below(static_cast<uint64_t>(type->value_count()))))
                    ->number();
        if (oddly()) v = static_cast<int>(random_.below(80)) - 3;
        return list ? r.AddEnumValue(&m, &f, v) : r.SetEnumValue(&m, &f, v);
      }
      case Field::CPPTYPE_STRING: {
        std::string v = text(rules);
        return list ? r.AddString(&m, &f, std::move(v)) : r.SetString(&m, &f, std::move(v));
      }
      case Field::CPPTYPE_MESSAGE:
        break;
    }
  }

  std::string text(const Rules& rules) {
    static const std::string texts[] = {"",
                                        "a",
                                        "x-name",
                                        ":path",
                                        ":",
                                        "a b\tc",
                                        "/prefix",
                                        "/a?b",
                                        "é",
                                        "a\nb",
                                        "*.x.y",
                                        "[a-z]+(b|c)",
                                        "http",
                                        "a.example:80",
                                        "\x7f",
                                        "日本語",
                                        std::string("\0", 1),
                                        "1.2.3.4",
                                        "$^",
                                        "https"};
    const validate::StringRules& s = rules.string();
    const uint64_t lengths[] = {s.min_len(), s.max_len(), s.min_bytes(), s.max_bytes(),
                                rules.bytes().min_len()};
    const uint64_t length = lengths[random_.below(std::size(lengths))];
    if (length > 0 && random_.chance(1, 4)) return std::string(length + random_.below(3) - 1, 'x');
    if (s.in_size() > 0 && random_.chance(3, 4))
      return s.in(static_cast<int>(random_.below(static_cast<uint64_t>(s.in_size()))));
    return texts[random_.below(std::size(texts))];
  }

  Random random_;
  const HonouredFields& lists_;
  const uint64_t odd_;
  std::vector<const Descriptor*> contents_;
};

}  // namespace sluice::config::test
