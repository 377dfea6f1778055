#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/kube/reflector.hpp>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <type_traits>
#include <utility>

namespace keyshepherd::kube {

namespace {

namespace asio = boost::asio;
using fsm::WatchMachine;

void deliver(Sink& sink, WatchMachine::Change change) {
    if (auto* replaced = std::get_if<WatchMachine::Replaced>(&change))
        sink.replaced(std::move(replaced->objects), replaced->gone);
    else if (auto* listed = std::get_if<WatchMachine::Listed>(&change))
        for (Json& object : listed->objects) sink.listed(std::move(object));
    else if (auto* applied = std::get_if<WatchMachine::Applied>(&change))
        sink.applied(std::move(applied->object));
    else if (auto* removed = std::get_if<WatchMachine::Removed>(&change))
        sink.removed(removed->key, std::move(removed->object));
}

ListOptions list_options(const ReflectOptions& options, std::string continue_token) {
    ListOptions list;
    list.label_selector = options.label_selector;
    list.field_selector = options.field_selector;
    list.continue_token = std::move(continue_token);
    return list;
}

WatchOptions watch_options(const ReflectOptions& options, const WatchMachine::Watch& wish) {
    WatchOptions watch;
    watch.label_selector = options.label_selector;
    watch.field_selector = options.field_selector;
    watch.resource_version = wish.resource_version;
    watch.initial_events = wish.initial_events;
    watch.timeout = wish.timeout;
    return watch;
}

}  // namespace

Task<void> reflect(Client& client, Resource resource, std::string ns, Sink& sink, ReflectOptions options) {
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    WatchMachine machine(options.times, options.early);
    Watch stream;
    bool failing = false;
    const auto well = [&] {
        if (std::exchange(failing, false)) sink.recovered();
    };
    for (;;) {
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) break;
        const WatchMachine::Action action = machine.next();
        if (const auto* list = std::get_if<WatchMachine::List>(&action)) {
            stream = Watch();
            auto page = co_await client.list(resource, ns, list_options(options, list->continue_token),
                                             SteadyClock::now() + options.call);
            if (page) {
                well();
                deliver(sink,
                        machine.page(std::move(page->items), std::move(page->continue_token),
                                     std::move(page->resource_version), SteadyClock::now(), random_unit()));
            } else {
                machine.failed(page.error(), SteadyClock::now(), random_unit());
            }
        } else if (const auto* watch = std::get_if<WatchMachine::Watch>(&action)) {
            stream = Watch();
            auto opened = co_await client.watch(resource, ns, watch_options(options, *watch),
                                                SteadyClock::now() + options.call);
            if (opened) {
                stream = std::move(*opened);
                machine.opened(SteadyClock::now());
                well();
            } else {
                machine.failed(opened.error(), SteadyClock::now(), random_unit());
            }
        } else if (const auto* read = std::get_if<WatchMachine::Read>(&action)) {
            auto event = co_await stream.next(SteadyClock::now() + read->within);
            if (!event)
                machine.failed(event.error(), SteadyClock::now(), random_unit());
            else if (auto& seen = *event; seen)
                deliver(sink, machine.event(seen->type, std::move(seen->object), SteadyClock::now(),
                                            random_unit()));
            else
                machine.ended(SteadyClock::now(), random_unit());
        } else if (const auto* wait = std::get_if<WatchMachine::Sleep>(&action)) {
            stream = Watch();  // a connection that failed is of no use, and holds a place
            failing |= machine.error().has_value();
            if (const auto& error = machine.error(); error)
                sink.failed(*error, std::chrono::ceil<std::chrono::milliseconds>(wait->time));
            if (co_await net::sleep_until(SteadyClock::now() + wait->time)) machine.slept();
        }
    }
    stream = Watch();
    co_await asio::this_coro::throw_if_cancelled(throws);
}

}  // namespace keyshepherd::kube
