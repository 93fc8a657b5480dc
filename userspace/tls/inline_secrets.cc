#include "tls/inline_secrets.h"

#include <mutex>
#include <utility>

namespace sluice::tls {
namespace {

struct All {
  std::mutex mutex;
  std::list<InlineSecret::View> views;

  std::list<InlineSecret::View>::iterator add(InlineSecret::View view) {
    std::lock_guard lock(mutex);
    return views.insert(views.end(), std::move(view));
  }
};

// For ever: contexts may outlive any other static object.
All& known() {
  static All& made = *new All;
  return made;
}

}  // namespace

InlineSecret::InlineSecret(std::shared_ptr<const Certificate> certificate, std::string path)
    : entry_(known().add({std::move(certificate), nullptr, std::move(path)})) {}

InlineSecret::InlineSecret(std::shared_ptr<const Validation> validation)
    : entry_(known().add({nullptr, std::move(validation), {}})) {}

InlineSecret::~InlineSecret() {
  std::lock_guard lock(known().mutex);
  known().views.erase(entry_);
}

std::vector<InlineSecret::View> InlineSecret::all() {
  std::lock_guard lock(known().mutex);
  return {known().views.begin(), known().views.end()};
}

}  // namespace sluice::tls
