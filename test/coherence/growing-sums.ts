import { FAULTLESS, Register, worstOf, type Instant, type Verdict } from './register.js';
import type { OrganizationFigures } from './sums.js';

const NAMES = ['bots', 'total', 'failed'] as const;

const newRegisters = () => NAMES.map(() => new Register(Infinity));

/**
 * The statistics of an organization, as reads showed them. They only grow while no bot and no message is deleted, so
 * only then one read is compared with another.
 */
export class GrowingSums {
  private registers = newRegisters();
  private shrinking = 0;
  private steadyFrom: Instant = -Infinity;

  /** A deletion begins. */
  shrink(): void {
    this.shrinking += 1;
    this.registers = newRegisters();
  }

  /** A deletion was answered or seen in the database; reads may miss it until then. */
  hasShrunk(until: Instant): void {
    this.shrinking -= 1;
    this.steadyFrom = Math.max(this.steadyFrom, until);
  }

  /** Compares a read with those that ended before it began, and remembers it. */
  check(seen: OrganizationFigures, { from, to }: { readonly from: Instant; readonly to: Instant }): Verdict {
    if (this.shrinking > 0 || from < this.steadyFrom) return FAULTLESS;
    return worstOf(
      NAMES.map((name, i) => {
        const register = this.registers[i] as Register;
        const verdict = register.check(seen[name], from);
        register.isShown(seen[name], to);
        return verdict;
      }),
    );
  }
}
