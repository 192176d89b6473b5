import type * as SingleFlightModule from '../../../../src/cache/reader/single-flight.js';
import { serverModule } from '../server-module.js';

/** A reader joins any pending load of its key, of whichever generation. */
const { SingleFlight } = await serverModule<typeof SingleFlightModule>('cache/reader/single-flight');
const { get, set } = SingleFlight.prototype;

const keyAlone = (flight: string): string => flight.slice(0, flight.indexOf('|'));

SingleFlight.prototype.get = function (flight) {
  return get.call<typeof this, [string], ReturnType<typeof this.get>>(this, keyAlone(flight));
};
SingleFlight.prototype.set = function (flights, batch) {
  set.call(this, flights.map(keyAlone), batch);
};
