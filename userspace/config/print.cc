#include "config/print.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "config/protos.h"
#include "udpa/annotations/sensitive.pb.h"

namespace sluice::config {

namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : kAlphabet[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

namespace {

constexpr std::string_view kRedacted = "[redacted]";

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  void message(const pb::Message& m, bool sensitive) {
    using D = pb::Descriptor;
    switch (m.GetDescriptor()->well_known_type()) {
      case D::WELLKNOWNTYPE_ANY:
        return any(static_cast<const pb::Any&>(m), sensitive);
      case D::WELLKNOWNTYPE_DURATION:
        return quoted(pb::util::TimeUtil::ToString(static_cast<const pb::Duration&>(m)));
      case D::WELLKNOWNTYPE_TIMESTAMP:
        return quoted(pb::util::TimeUtil::ToString(static_cast<const pb::Timestamp&>(m)));
      case D::WELLKNOWNTYPE_FIELDMASK:
        return field_mask(static_cast<const pb::FieldMask&>(m));
      case D::WELLKNOWNTYPE_STRUCT:
        return structure(static_cast<const pb::Struct&>(m), sensitive);
      case D::WELLKNOWNTYPE_VALUE:
        return value(static_cast<const pb::Value&>(m), sensitive);
      case D::WELLKNOWNTYPE_LISTVALUE:
        return list_value(static_cast<const pb::ListValue&>(m), sensitive);
      case D::WELLKNOWNTYPE_UNSPECIFIED:
        break;
      default:  // wrappers
        if (m.GetDescriptor()->field_count() == 1)
          return scalar(m, *m.GetDescriptor()->field(0), -1, sensitive);
        break;
    }
    open('{');
    fields(m, sensitive);
    close('}');
  }

  std::string take() { return std::move(out_); }

 private:
  // ---- structure ----
  void open(char bracket) {
    out_ += bracket;
    ++depth_;
    first_ = true;
  }
  void close(char bracket) {
    --depth_;
    if (!first_) line();
    out_ += bracket;
    first_ = false;
  }
  void line() {
    if (!options_.pretty) return;
    out_ += '\n';
    out_.append(depth_, ' ');
  }
  void next() {
    if (!first_) out_ += ',';
    first_ = false;
    line();
  }
  void key(std::string_view name) {
    next();
    quoted(name);
    out_ += options_.pretty ? ": " : ":";
  }
  void quoted(std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    out_ += '"';
    for (const char c : text) {
      switch (c) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        default:
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            out_ += "\\u00";
            out_ += kHex[static_cast<unsigned char>(c) >> 4];
            out_ += kHex[c & 15];
          } else {
            out_ += c;
          }
      }
    }
    out_ += '"';
  }
  template <typename Number>
  void number(Number value) {
    char text[40];
    out_.append(text, std::to_chars(text, text + sizeof text, value).ptr);
  }
  template <typename Real>
  void real(Real value) {
    if (std::isnan(value)) return quoted("NaN");
    if (std::isinf(value)) return quoted(value > 0 ? "Infinity" : "-Infinity");
    number(value);
  }

  // ---- messages ----
  void fields(const pb::Message& m, bool sensitive) {
    const pb::Reflection& r = *m.GetReflection();
    const pb::Descriptor& type = *m.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const Field& f = *type.field(i);
      const bool present = f.is_repeated() ? r.FieldSize(m, &f) > 0 : r.HasField(m, &f);
      const bool primitive = !f.is_repeated() && !f.has_presence() && f.cpp_type() != Field::CPPTYPE_MESSAGE;
      if (!present && !(options_.always_print_fields && primitive)) continue;
      const bool hidden =
          sensitive || (options_.redact && f.options().GetExtension(udpa::annotations::sensitive));
      // A number can't say "[redacted]": left out.
      if (hidden && f.cpp_type() != Field::CPPTYPE_MESSAGE && f.cpp_type() != Field::CPPTYPE_STRING) continue;
      key(f.name());
      if (f.is_map()) {
        map(m, f, hidden);
      } else if (f.is_repeated()) {
        open('[');
        for (int k = 0; k < r.FieldSize(m, &f); ++k) {
          next();
          if (f.cpp_type() == Field::CPPTYPE_MESSAGE) {
            message(r.GetRepeatedMessage(m, &f, k), hidden);
          } else {
            scalar(m, f, k, hidden);
          }
        }
        close(']');
      } else if (f.cpp_type() == Field::CPPTYPE_MESSAGE) {
        message(r.GetMessage(m, &f), hidden);
      } else {
        scalar(m, f, -1, hidden);
      }
    }
  }

  void map(const pb::Message& m, const Field& f, bool hidden) {
    const pb::Reflection& r = *m.GetReflection();
    const Field& key_field = *f.message_type()->map_key();
    const Field& value_field = *f.message_type()->map_value();
    std::map<std::string, const pb::Message*> sorted;
    for (int i = 0; i < r.FieldSize(m, &f); ++i) {
      const pb::Message& pair = r.GetRepeatedMessage(m, &f, i);
      Printer text({.pretty = false, .always_print_fields = false, .redact = false});
      text.scalar(pair, key_field, -1, false);
      std::string name = text.take();
      if (key_field.cpp_type() == Field::CPPTYPE_STRING)
        name = pair.GetReflection()->GetString(pair, &key_field);
      sorted.emplace(std::move(name), &pair);
    }
    open('{');
    for (const auto& [name, pair] : sorted) {
      key(name);
      if (value_field.cpp_type() == Field::CPPTYPE_MESSAGE) {
        message(pair->GetReflection()->GetMessage(*pair, &value_field), hidden);
      } else {
        scalar(*pair, value_field, -1, hidden);
      }
    }
    close('}');
  }

  void scalar(const pb::Message& m, const Field& f, int index, bool hidden) {
    const pb::Reflection& r = *m.GetReflection();
    const bool list = index >= 0;
    if (hidden) return quoted(f.type() == Field::TYPE_BYTES ? base64(kRedacted) : std::string(kRedacted));
    switch (f.cpp_type()) {
      case Field::CPPTYPE_INT32:
        return number(list ? r.GetRepeatedInt32(m, &f, index) : r.GetInt32(m, &f));
      case Field::CPPTYPE_UINT32:
        return number(list ? r.GetRepeatedUInt32(m, &f, index) : r.GetUInt32(m, &f));
      // 64 bits are strings in JSON: a reader's numbers are doubles.
      case Field::CPPTYPE_INT64:
        return quoted(std::to_string(list ? r.GetRepeatedInt64(m, &f, index) : r.GetInt64(m, &f)));
      case Field::CPPTYPE_UINT64:
        return quoted(std::to_string(list ? r.GetRepeatedUInt64(m, &f, index) : r.GetUInt64(m, &f)));
      case Field::CPPTYPE_DOUBLE:
        return real(list ? r.GetRepeatedDouble(m, &f, index) : r.GetDouble(m, &f));
      case Field::CPPTYPE_FLOAT:
        return real(list ? r.GetRepeatedFloat(m, &f, index) : r.GetFloat(m, &f));
      case Field::CPPTYPE_BOOL:
        out_ += (list ? r.GetRepeatedBool(m, &f, index) : r.GetBool(m, &f)) ? "true" : "false";
        return;
      case Field::CPPTYPE_ENUM: {
        const int v = list ? r.GetRepeatedEnumValue(m, &f, index) : r.GetEnumValue(m, &f);
        const auto* named = f.enum_type()->FindValueByNumber(v);
        return named != nullptr ? quoted(named->name()) : number(v);
      }
      case Field::CPPTYPE_STRING: {
        const std::string v = list ? r.GetRepeatedString(m, &f, index) : r.GetString(m, &f);
        return quoted(f.type() == Field::TYPE_BYTES ? base64(v) : v);
      }
      case Field::CPPTYPE_MESSAGE:
        return;
    }
  }

  // ---- well-known types ----
  void any(const pb::Any& any, bool sensitive) {
    const std::string& url = any.type_url();
    const pb::Descriptor* type = find_message_type(std::string_view(url).substr(url.rfind('/') + 1));
    std::unique_ptr<pb::Message> content(type != nullptr ? prototype(*type).New() : nullptr);
    open('{');
    if (!url.empty()) {
      key("@type");
      quoted(url);
    }
    if (content == nullptr || !content->ParseFromString(any.value())) {
      if (!any.value().empty()) {
        key("value");
        quoted(options_.redact && sensitive ? base64(kRedacted) : base64(any.value()));
      }
    } else if (type->well_known_type() != pb::Descriptor::WELLKNOWNTYPE_UNSPECIFIED) {
      key("value");
      message(*content, sensitive);
    } else {
      fields(*content, sensitive);
    }
    close('}');
  }

  void field_mask(const pb::FieldMask& mask) {
    std::string text;
    for (const auto& path : mask.paths()) {
      if (!text.empty()) text += ',';
      bool upper = false;
      for (char c : path) {
        if (c == '_') {
          upper = true;
          continue;
        }
        text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
        upper = false;
      }
    }
    quoted(text);
  }

  void value(const pb::Value& v, bool sensitive) {
    switch (v.kind_case()) {
      case pb::Value::kStructValue:
        return structure(v.struct_value(), sensitive);
      case pb::Value::kListValue:
        return list_value(v.list_value(), sensitive);
      case pb::Value::kStringValue:
        return quoted(sensitive ? std::string(kRedacted) : v.string_value());
      case pb::Value::kNumberValue:
        if (!sensitive) return real(v.number_value());
        break;
      case pb::Value::kBoolValue:
        if (sensitive) break;
        out_ += v.bool_value() ? "true" : "false";
        return;
      default:
        break;
    }
    out_ += "null";
  }
  void structure(const pb::Struct& s, bool sensitive) {
    const std::map<std::string, pb::Value> sorted(s.fields().begin(), s.fields().end());
    open('{');
    for (const auto& [name, v] : sorted) {
      key(name);
      value(v, sensitive);
    }
    close('}');
  }
  void list_value(const pb::ListValue& list, bool sensitive) {
    open('[');
    for (const auto& v : list.values()) {
      next();
      value(v, sensitive);
    }
    close(']');
  }

  const PrintOptions options_;
  std::string out_;
  size_t depth_ = 0;
  bool first_ = true;
};

}  // namespace

std::string to_json(const pb::Message& message, const PrintOptions& options) {
  Printer printer(options);
  printer.message(message, false);
  return printer.take();
}

}  // namespace sluice::config
