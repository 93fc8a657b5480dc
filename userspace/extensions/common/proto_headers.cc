#include "extensions/common/proto_headers.h"

#include "core/ascii.h"
#include "envoy/config/core/v3/base.pb.h"
#include "extensions/access_loggers/common/formatter.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::extensions {
namespace {

using envoy::config::core::v3::HeaderValueOption;

class TextHeaderFormatter final : public model::HeaderFormatter {
 public:
  explicit TextHeaderFormatter(std::unique_ptr<access_loggers::Formatter> text) : text_(std::move(text)) {}
  void format(const ext::StreamInfo& info, std::string& out) const override {
    text_->format(info, ext::AccessLogType::not_set, out);
  }

 private:
  const std::unique_ptr<access_loggers::Formatter> text_;
};

bool is_modifiable(std::string_view name) {
  return !name.empty() && name.front() != ':' && to_lower(name) != "host";
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t i = text.find(from); i != std::string::npos; i = text.find(from, i + to.size()))
    text.replace(i, from.size(), to);
}

// %UPSTREAM_METADATA(["a", "b"])% of older configurations is %UPSTREAM_METADATA(a:b)%.
std::string with_new_metadata_syntax(std::string format, std::string_view command) {
  const std::string open = "%" + std::string(command) + "([", close = "])%";
  for (size_t i = format.find(open); i != std::string::npos; i = format.find(open, i + 1)) {
    const size_t begin = i + open.size(), end = format.find(close, begin);
    if (end == std::string::npos) break;
    std::string keys;
    for (size_t k = begin; k < end; ++k) {
      if (format[k] == ',') keys += ':';
      if (format[k] != ',' && format[k] != '"' && format[k] != ' ') keys += format[k];
    }
    format.replace(i, end + close.size() - i, "%" + std::string(command) + "(" + keys + ")%");
  }
  return format;
}

// What Envoy still reads of the formats that only headers had.
std::string with_new_syntax(std::string_view format) {
  std::string out(format);
  if (out.find("_METADATA([") != std::string::npos) {
    out = with_new_metadata_syntax(std::move(out), "UPSTREAM_METADATA");
    out = with_new_metadata_syntax(std::move(out), "DYNAMIC_METADATA");
  }
  replace_all(out, "%PER_REQUEST_STATE(", "%FILTER_STATE(");
  return out;
}

model::HeaderRules::Append to_append(const HeaderValueOption& in) {
  using Append = model::HeaderRules::Append;
  if (in.has_append())
    return in.append().value() ? Append::append_if_exists_or_add : Append::overwrite_if_exists_or_add;
  switch (in.append_action()) {
    case HeaderValueOption::ADD_IF_ABSENT:
      return Append::add_if_absent;
    case HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD:
      return Append::overwrite_if_exists_or_add;
    case HeaderValueOption::OVERWRITE_IF_EXISTS:
      return Append::overwrite_if_exists;
    default:
      return Append::append_if_exists_or_add;
  }
}

}  // namespace

Result<std::shared_ptr<const model::HeaderFormatter>> make_header_formatter(std::string_view format) {
  SLUICE_ASSIGN(auto text,
                access_loggers::make_text_formatter(with_new_syntax(format), {.omit_empty_values = true}));
  return header_formatter(std::move(text));
}

std::shared_ptr<const model::HeaderFormatter> header_formatter(
    std::unique_ptr<access_loggers::Formatter> formatter) {
  return std::make_shared<TextHeaderFormatter>(std::move(formatter));
}

Status add_header(const HeaderValueOption& in, std::string_view path, model::HeaderRules& out) {
  const std::string& name = in.header().key();
  if (!is_modifiable(name))
    return Error{std::string(path) + ".header.key: :-prefixed or host headers may not be modified"};
  if (in.has_append() && in.append_action() != HeaderValueOption::APPEND_IF_EXISTS_OR_ADD)
    return Error{std::string(path) + ".append: both append and append_action are set; append is deprecated"};
  model::HeaderRules::Add rule;
  rule.name = to_lower(name);
  rule.append = to_append(in);
  rule.keep_empty = in.keep_empty_value();
  const std::string& value = in.header().value();
  if (value.find('%') == std::string::npos) {
    rule.literal = value;
  } else {
    auto formatter = make_header_formatter(value);
    if (!formatter.ok()) return std::move(formatter).error().prefixed(std::string(path) + ".header.value");
    rule.formatter = std::move(formatter).value();
  }
  out.add.push_back(std::move(rule));
  return {};
}

Status remove_header(const std::string& name, std::string_view path, model::HeaderRules& out) {
  if (!is_modifiable(name))
    return Error{std::string(path) + ": :-prefixed or host headers may not be removed"};
  out.remove.push_back(to_lower(name));
  return {};
}

Status add_headers(const HeaderOptions& in, std::string_view path, model::HeaderRules& out) {
  for (int i = 0; i < in.size(); ++i)
    SLUICE_TRY(add_header(in[i], std::string(path) + '[' + std::to_string(i) + ']', out));
  return {};
}

Status remove_headers(const google::protobuf::RepeatedPtrField<std::string>& in, std::string_view path,
                      model::HeaderRules& out) {
  for (int i = 0; i < in.size(); ++i)
    SLUICE_TRY(remove_header(in[i], std::string(path) + '[' + std::to_string(i) + ']', out));
  return {};
}

}  // namespace sluice::extensions
