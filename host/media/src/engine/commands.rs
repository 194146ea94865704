//! The directory's commands. Each is checked, done and answered; repeating one is harmless.

use super::Engine;
use super::routes::UFRAG_SHARD_DIGITS;
use crate::consumer::Consumer;
use crate::io::Crossing;
use crate::producer::Producer;
use crate::station::{RelaySink, RelaySource, Source, Station};
use crate::transport::Transport;
use tidegate_types::command::{Command, CommandBody, CommandError, CommandReply, Done, TransportLimits};
use tidegate_types::consumer::ConsumerParameters;
use tidegate_types::data::DataParameters;
use tidegate_types::producer::ProducerParameters;
use tidegate_types::relay::RelayMessage;
use tidegate_types::transport::{IceCredentials, LocalTransport};
use tidegate_types::{ConsumerId, Now, Place, ProducerId, RelayId, RouterId, Secret, TransportId};

/// Letters that ICE allows, 64 of them, so that six random bits choose one without bias (RFC 8445, 5.3).
const ICE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Random characters of a ufrag (behind its shard) and of a password: 48 and 144 bits.
const UFRAG_CHARACTERS: usize = 8;
const PASSWORD_CHARACTERS: usize = 24;
/// Tracks of one transport, each way.
const TRACKS: usize = 512;

impl Engine {
    pub(super) fn run_command(&mut self, now: Now, command: Command) {
        let result = self.run(now, command.body);
        self.output.replies.push(CommandReply { request: command.request, result });
    }

    fn run(&mut self, now: Now, body: CommandBody) -> Result<Done, CommandError> {
        match body {
            CommandBody::CreateTransport { transport, router, limits } => {
                self.create_transport(now, transport, router, limits)
            }
            CommandBody::LimitTransport { transport, ingress_kbps, egress_kbps, may_send } => {
                self.limit(now, transport, (ingress_kbps, egress_kbps), may_send)
            }
            CommandBody::ConnectTransport { transport, remote } => {
                let slot = self.slot(transport)?;
                self.transport_mut(slot, transport)?.association.connect(remote, now);
                self.drain_association(now, slot);
                self.arm(slot);
                Ok(Done::Done)
            }
            CommandBody::RestartIce { transport } => self.restart_ice(transport),
            CommandBody::CloseTransport { transport } => {
                if let Ok(slot) = self.slot(transport) {
                    if let Some(closing) = self.transports.get_mut(slot).and_then(Option::as_mut) {
                        // The peer is told; it need not hear it.
                        closing.association.close(now, &mut self.output.datagrams);
                    }
                    self.remove_transport(now, slot);
                }
                Ok(Done::Done)
            }
            CommandBody::CreateProducer { producer, transport, parameters, paused } => {
                self.create_producer(now, producer, transport, parameters, paused)
            }
            CommandBody::PauseProducer { producer, paused } => self.pause_producer(now, producer, paused),
            CommandBody::HushProducer { producer, hushed } => self.hush_producer(producer, hushed),
            CommandBody::SetSpeaker { router, pictures } => {
                self.set_speaker(router, &pictures);
                Ok(Done::Done)
            }
            CommandBody::SetShares { router, portions, valid_ms } => {
                self.set_shares(now, router, &portions, valid_ms);
                Ok(Done::Done)
            }
            CommandBody::CloseProducer { producer } => {
                if let Some(station) = self.station_ids.get(&producer).copied() {
                    self.remove_station(station);
                }
                Ok(Done::Done)
            }
            CommandBody::CreateConsumer { consumer, transport, producer, parameters } => {
                self.create_consumer(now, consumer, transport, producer, &parameters)
            }
            CommandBody::PauseConsumer { consumer, paused } => {
                self.with_consumer(now, consumer, |consumer| {
                    consumer.pause(paused);
                })
            }
            CommandBody::SetPreferredLayers { consumer, preferred } => {
                self.with_consumer(now, consumer, |consumer| consumer.prefer(preferred))
            }
            CommandBody::CloseConsumer { consumer } => {
                if let Some((slot, index)) = self.find_consumer(consumer) {
                    self.remove_consumer(now, slot, index);
                }
                Ok(Done::Done)
            }
            CommandBody::OpenRelay { relay, producer, to } => self.open_relay(now, relay, producer, to),
            CommandBody::AcceptRelay { relay, router, producer, parameters, paused, from } => {
                self.accept_relay(now, relay, router, producer, parameters, paused, from)
            }
            CommandBody::CloseRelay { relay } => {
                self.close_relay(now, relay);
                Ok(Done::Done)
            }
            CommandBody::OpenData { transport, parameters } => self.open_data(transport, parameters),
            CommandBody::SendMessage { transport, person, text } => {
                self.send_message(now, transport, person, &text)
            }
            CommandBody::RelayData { router, to } => {
                self.data.relay_to(router, to);
                Ok(Done::Done)
            }
            CommandBody::MoveTransport { transport, to, stand_ins } => {
                self.depart(transport, to, &stand_ins).map(|()| Done::Done)
            }
            CommandBody::CloseRouter { router } => {
                if self.router_is_empty(router) {
                    self.data.relay_to(router, Vec::new());
                    Ok(Done::Done)
                } else {
                    Err(CommandError::Unfit(format!("{router} is not empty")))
                }
            }
            CommandBody::ReadStats { transport } => {
                let slot = self.slot(transport)?;
                Ok(Done::Stats(Box::new(self.transport_mut(slot, transport)?.dump())))
            }
            CommandBody::ReadRates { router } => Ok(Done::Rates(Box::new(self.rates(router)))),
            CommandBody::ReadRelays => Ok(Done::Relays(self.relay_stats())),
        }
    }

    pub(super) fn slot(&self, transport: TransportId) -> Result<usize, CommandError> {
        self.transport_ids.get(&transport).copied().ok_or(CommandError::NoTransport(transport))
    }

    pub(super) fn transport_mut(
        &mut self,
        slot: usize,
        id: TransportId,
    ) -> Result<&mut Transport, CommandError> {
        self.transports.get_mut(slot).and_then(Option::as_deref_mut).ok_or(CommandError::NoTransport(id))
    }

    fn characters(&mut self, count: usize) -> String {
        let mut bytes = [0; 32];
        self.secrets.fill(&mut bytes);
        bytes.iter().take(count).map(|byte| char::from(ICE_CHARACTERS[usize::from(byte & 63)])).collect()
    }

    fn new_credentials(&mut self) -> IceCredentials {
        let shard = self.config.place.shard.0;
        let random = self.characters(UFRAG_CHARACTERS);
        IceCredentials {
            ufrag: format!("{shard:0width$x}{random}", width = UFRAG_SHARD_DIGITS),
            password: Secret::new(self.characters(PASSWORD_CHARACTERS)),
        }
    }

    fn local_side(&self, ice: IceCredentials) -> LocalTransport {
        LocalTransport {
            ice,
            candidates: self.config.candidates.clone(),
            fingerprint: self.config.association.identity.fingerprint(),
        }
    }

    fn limit(
        &mut self,
        now: Now,
        id: TransportId,
        (ingress_kbps, egress_kbps): (Option<u32>, Option<u32>),
        may_send: Option<bool>,
    ) -> Result<Done, CommandError> {
        let slot = self.slot(id)?;
        let transport = self.transports.get_mut(slot).and_then(Option::as_mut);
        let transport = transport.ok_or(CommandError::NoTransport(id))?;
        transport.limit(now, ingress_kbps, egress_kbps, &mut self.output.datagrams);
        if let (Some(may_send), Some(data)) = (may_send, &mut transport.data) {
            data.set_parameters(DataParameters { may_send, ..*data.parameters() });
        }
        Ok(Done::Done)
    }

    fn create_transport(
        &mut self,
        now: Now,
        id: TransportId,
        router: RouterId,
        limits: TransportLimits,
    ) -> Result<Done, CommandError> {
        if let Ok(slot) = self.slot(id) {
            let local = self.transport_mut(slot, id)?.association.local().clone();
            return Ok(Done::Transport(self.local_side(local)));
        }
        if self.transport_ids.len() >= self.config.max_transports {
            return Err(CommandError::Full(format!("{} transports a shard", self.config.max_transports)));
        }
        let local = self.new_credentials();
        let transport = Transport::new(id, router, limits, &self.config.association, local.clone(), now);
        let slot = self.place_transport(Box::new(transport));
        self.arm(slot);
        Ok(Done::Transport(self.local_side(local)))
    }

    fn restart_ice(&mut self, id: TransportId) -> Result<Done, CommandError> {
        let slot = self.slot(id)?;
        let local = self.new_credentials();
        let transport = self.transport_mut(slot, id)?;
        transport.association.restart_ice(local.clone());
        transport.ufrags.push(local.ufrag.clone());
        // The newest and the one before stay valid; older ones can't be used by a peer in step.
        let outdated = (transport.ufrags.len() > 2).then(|| transport.ufrags.remove(0));
        self.routes.ufrag_here(local.ufrag.clone(), slot);
        if let Some(outdated) = outdated {
            self.routes.end(slot, std::slice::from_ref(&outdated), &[]);
            self.tell_trail(slot, &[outdated], &[]);
        }
        Ok(Done::Transport(self.local_side(local)))
    }

    pub(super) fn remove_transport(&mut self, now: Now, slot: usize) {
        let standing = self.transports.get(slot).and_then(Option::as_ref);
        if let Some((ufrags, flows)) =
            standing.filter(|transport| !transport.trail.is_empty()).map(|transport| {
                (transport.ufrags.clone(), transport.association.validated().collect::<Vec<_>>())
            })
        {
            self.tell_trail(slot, &ufrags, &flows);
        }
        let Some(transport) = self.detach(slot) else { return };
        for producer in transport.producers.iter().flatten() {
            self.remove_station(producer.station);
        }
        // Whoever waited for this peer's layers may now need less of the source.
        let watched: Vec<ProducerId> =
            transport.consumers.iter().flatten().map(|consumer| consumer.producer).collect();
        for producer in watched {
            if let Some(&station) = self.station_ids.get(&producer) {
                self.choose_layers(now, station);
            }
        }
    }

    pub(super) fn place_station(&mut self, station: Station) -> usize {
        let index = self.stations.iter().position(Option::is_none).unwrap_or_else(|| {
            self.stations.push(None);
            self.stations.len() - 1
        });
        self.station_ids.insert(station.producer, index);
        self.stations[index] = Some(station);
        index
    }

    /// Ends a producer here: its seats, its relays, its place in its transport.
    fn remove_station(&mut self, index: usize) {
        let Some(mut station) = self.stations.get_mut(index).and_then(Option::take) else { return };
        self.station_ids.remove(&station.producer);
        for relay in &station.relays {
            self.relay_sources.remove(&relay.id);
        }
        match &station.source {
            Source::Local { transport, producer } => {
                if let Some(transport) = self.transports.get_mut(*transport).and_then(Option::as_mut) {
                    transport.remove_producer(*producer);
                }
                for standing in &mut station.encodings {
                    standing.history.clear(&mut self.pool);
                }
            }
            Source::Relay(sink) => {
                self.relay_sinks.remove(&sink.id);
            }
        }
        for seat in &station.seats {
            if let Some(transport) = self.transports.get_mut(seat.transport).and_then(Option::as_mut) {
                transport.remove_consumer(seat.consumer);
            }
        }
    }

    fn create_producer(
        &mut self,
        now: Now,
        id: ProducerId,
        transport: TransportId,
        parameters: ProducerParameters,
        paused: bool,
    ) -> Result<Done, CommandError> {
        let slot = self.slot(transport)?;
        if let Some(&station) = self.station_ids.get(&id) {
            let here = self.stations[station].as_ref().is_some_and(
                |station| matches!(station.source, Source::Local { transport, .. } if transport == slot),
            );
            return if here { Ok(Done::Done) } else { Err(CommandError::Taken(id.to_string())) };
        }
        if parameters.rtp.codecs.is_empty() || !(1..=8).contains(&parameters.rtp.encodings.len()) {
            return Err(CommandError::Unfit("a track needs a codec and 1 to 8 encodings".to_owned()));
        }
        let (router, tracks) = {
            let owner = self.transport_mut(slot, transport)?;
            (owner.router, owner.producers.iter().flatten().count())
        };
        if tracks >= TRACKS {
            return Err(CommandError::Full(format!("{TRACKS} tracks a transport")));
        }
        let source = Source::Local { transport: slot, producer: 0 };
        let mut station = Station::new(id, router, parameters.clone(), source, now.instant);
        station.paused = paused;
        let station = self.place_station(station);
        let owner = self.transport_mut(slot, transport)?;
        let index = owner.add_producer(Producer::new(id, station, parameters, now.instant), now.instant);
        if let Some(station) = &mut self.stations[station] {
            station.source = Source::Local { transport: slot, producer: index };
        }
        Ok(Done::Done)
    }

    fn pause_producer(&mut self, now: Now, id: ProducerId, paused: bool) -> Result<Done, CommandError> {
        let &index = self.station_ids.get(&id).ok_or(CommandError::NoProducer(id))?;
        let Some(station) = &mut self.stations[index] else { return Err(CommandError::NoProducer(id)) };
        let changed = station.paused != paused;
        station.paused = paused;
        if changed && !paused {
            self.resync_seats(index);
            self.choose_layers(now, index);
        }
        Ok(Done::Done)
    }

    /// Stops or resumes forwarding a track that is not among the loudest. Those who hear it again do so as after a
    /// rest: without a gap in the numbers, with the time that has passed.
    fn hush_producer(&mut self, id: ProducerId, hushed: bool) -> Result<Done, CommandError> {
        let &index = self.station_ids.get(&id).ok_or(CommandError::NoProducer(id))?;
        if let Some(station) = &mut self.stations[index] {
            station.hushed = hushed;
        }
        self.resync_seats(index);
        Ok(Done::Done)
    }

    /// The numbers of what comes next do not follow on what came last.
    fn resync_seats(&mut self, index: usize) {
        let Some(station) = self.stations.get(index).and_then(Option::as_ref) else { return };
        for seat in &station.seats {
            let transport = self.transports.get_mut(seat.transport).and_then(Option::as_mut);
            if let Some(Some(consumer)) =
                transport.and_then(|transport| transport.consumers.get_mut(seat.consumer))
            {
                consumer.resync();
            }
        }
    }

    fn create_consumer(
        &mut self,
        now: Now,
        id: ConsumerId,
        transport: TransportId,
        producer: ProducerId,
        parameters: &ConsumerParameters,
    ) -> Result<Done, CommandError> {
        let slot = self.slot(transport)?;
        if let Some((slot, index)) = self.find_consumer(id) {
            self.seat_again(now, slot, index);
            return Ok(Done::Done);
        }
        let &station = self.station_ids.get(&producer).ok_or(CommandError::NoProducer(producer))?;
        if let Some(station) = &self.stations[station] {
            let known = &station.parameters.rtp.codecs;
            let fits = parameters
                .rtp
                .codecs
                .first()
                .is_some_and(|codec| known.iter().any(|c| c.codec == codec.codec));
            if !fits || station.parameters.kind != parameters.kind {
                return Err(CommandError::Unfit("the peer does not take the track's codec".to_owned()));
            }
        }
        let mut seed = [0; 4];
        self.secrets.fill(&mut seed);
        let consumer = Consumer::new(id, producer, parameters, u32::from_ne_bytes(seed), now.instant)
            .ok_or_else(|| CommandError::Unfit("a consumer needs a codec and an SSRC".to_owned()))?;
        let ssrc = consumer.ssrc;
        let owner = self.transport_mut(slot, transport)?;
        if owner.consumers.iter().flatten().count() >= TRACKS {
            return Err(CommandError::Full(format!("{TRACKS} tracks a transport")));
        }
        let index =
            owner.add_consumer(consumer).ok_or_else(|| CommandError::Taken(format!("SSRC {ssrc}")))?;
        self.reseat(now, slot, index);
        Ok(Done::Done)
    }

    /// One that came with its transport and found no station of its producer sits down now.
    fn seat_again(&mut self, now: Now, slot: usize, index: usize) {
        let transport = self.transports.get(slot).and_then(Option::as_ref);
        let consumer = transport.and_then(|transport| transport.consumers.get(index)?.as_ref());
        if consumer.is_some_and(|consumer| consumer.station.is_none()) {
            self.reseat(now, slot, index);
        }
    }

    fn find_consumer(&self, id: ConsumerId) -> Option<(usize, usize)> {
        self.transports
            .iter()
            .enumerate()
            .find_map(|(slot, transport)| transport.as_ref()?.consumer_index(id).map(|index| (slot, index)))
    }

    fn with_consumer(
        &mut self,
        now: Now,
        id: ConsumerId,
        change: impl FnOnce(&mut Consumer),
    ) -> Result<Done, CommandError> {
        let (slot, index) = self.find_consumer(id).ok_or(CommandError::NoConsumer(id))?;
        let transport = self.transports[slot].as_mut();
        let consumer = transport.and_then(|transport| transport.consumers[index].as_mut());
        let consumer = consumer.ok_or(CommandError::NoConsumer(id))?;
        change(consumer);
        if let Some(station) = consumer.station {
            self.share_one(now, slot);
            self.choose_layers(now, station);
        }
        Ok(Done::Done)
    }

    fn remove_consumer(&mut self, now: Now, slot: usize, index: usize) {
        let transport = self.transports.get_mut(slot).and_then(Option::as_mut);
        let Some(consumer) = transport.and_then(|transport| transport.remove_consumer(index)) else { return };
        let Some(at) = consumer.station else { return };
        if let Some(station) = self.stations.get_mut(at).and_then(Option::as_mut) {
            station.seats.retain(|seat| !(seat.transport == slot && seat.consumer == index));
        }
        self.choose_layers(now, at);
    }

    fn open_relay(
        &mut self,
        now: Now,
        relay: RelayId,
        producer: ProducerId,
        to: Place,
    ) -> Result<Done, CommandError> {
        if self.relay_sources.contains_key(&relay) {
            return Ok(Done::Done);
        }
        let &index = self.station_ids.get(&producer).ok_or(CommandError::NoProducer(producer))?;
        let Some(station) = &mut self.stations[index] else { return Err(CommandError::NoProducer(producer)) };
        station.relays.push(RelaySource::new(relay, to));
        self.relay_sources.insert(relay, index);
        let clocks: Vec<RelayMessage> = station.clocks(relay).collect();
        self.output.crossings.extend(clocks.into_iter().map(|clock| (to, Crossing::Relay(clock))));
        let crossings = &mut self.output.crossings;
        station.tell_relays(now.instant, |to, message| crossings.push((to, Crossing::Relay(message))));
        station.tell_rates(|to, message| crossings.push((to, Crossing::Relay(message))));
        self.choose_layers(now, index);
        Ok(Done::Done)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn accept_relay(
        &mut self,
        now: Now,
        relay: RelayId,
        router: RouterId,
        producer: ProducerId,
        parameters: ProducerParameters,
        paused: bool,
        from: Place,
    ) -> Result<Done, CommandError> {
        if self.relay_sinks.contains_key(&relay) {
            return Ok(Done::Done);
        }
        if self.station_ids.contains_key(&producer) {
            return Err(CommandError::Taken(producer.to_string()));
        }
        let source = Source::Relay(RelaySink::new(relay, from));
        let mut station = Station::new(producer, router, parameters, source, now.instant);
        station.paused = paused;
        let index = self.place_station(station);
        self.relay_sinks.insert(relay, index);
        self.housekeep_by(now);
        Ok(Done::Done)
    }

    fn close_relay(&mut self, now: Now, relay: RelayId) {
        if let Some(sink) = self.relay_sinks.get(&relay).copied() {
            self.remove_station(sink);
        }
        if let Some(source) = self.relay_sources.remove(&relay) {
            if let Some(station) = self.stations.get_mut(source).and_then(Option::as_mut) {
                station.relays.retain(|known| known.id != relay);
            }
            self.choose_layers(now, source);
        }
    }

    fn relay_stats(&self) -> Vec<(RelayId, bool, tidegate_types::relay::RelayStats)> {
        self.stations
            .iter()
            .flatten()
            .flat_map(|station| {
                let sink = match &station.source {
                    Source::Relay(sink) => Some((sink.id, false, sink.stats.clone())),
                    Source::Local { .. } => None,
                };
                sink.into_iter()
                    .chain(station.relays.iter().map(|relay| (relay.id, true, relay.stats.clone())))
            })
            .collect()
    }
}
