package proposer

import (
	"testing"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

// Data has become dear since the second operation was accepted: what it pays does not cover what it adds. The bundle without it
// makes a profit, and is sent.
func TestAnOperationThatCostsMoreThanItPaysKeepsNobodyWaiting(t *testing.T) {
	s := newScene(t)
	good, burden := operation(1, fees(1000, 30)), operation(2, fees(1000, 20))
	s.validator.validations = map[common.Address]Validation{burden.Op.Sender: {DataGas: 1_000_000}}
	s.validator.lossWith = burden.Op.Sender
	s.add(t, good, burden)
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{good}, map[*pool.Operation]SkipReason{burden: LossMaking})
	for _, skip := range p.Skipped {
		if !skip.Have.Lt(&skip.Want) {
			t.Errorf("have %v, want it to bring less than it costs", skip)
		}
	}
}

func TestWhereNoOperationIsToBlameTheLossIsEverybodys(t *testing.T) {
	s := newScene(t)
	one, two := operation(1, fees(1000, 30)), operation(2, fees(1000, 20))
	s.validator.lossWith = two.Op.Sender
	s.add(t, one, two)
	p := s.propose(t, request())
	wantBundle(t, p, nil, map[*pool.Operation]SkipReason{one: LossMaking, two: LossMaking})
	wantReason(t, p, Unprofitable)
}
